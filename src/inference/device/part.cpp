#include "inference/device/part.hpp"

#include "inference/graph/subgraph.hpp"
#include "inference/passes/passes.hpp"
#include "inference/runtime/program.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// Values that a plan knows and that have more elements are taken as any other input.
constexpr std::size_t most_known = 4096;

// A device's kernel and the graph whose constants it uses.
class made_part final : public kernel {
 public:
  made_part(graph g, const part_compiler& device)
      : g_(std::move(g)), computed_(device.compile(g_)) {}

  bool takes_device_memory() const override { return computed_->takes_device_memory(); }
  void run(const run_context& context) const override { computed_->run(context); }

 private:
  const graph g_;
  const std::unique_ptr<kernel> computed_;
};

// A part whose shapes the device refuses.
class refused_part final : public kernel {
 public:
  explicit refused_part(std::shared_ptr<const part_on_host> instead)
      : instead_(std::move(instead)) {}

  void run(const run_context& context) const override { instead_->run(context); }
  std::string_view remark() const noexcept override { return " on the processor"; }

 private:
  const std::shared_ptr<const part_on_host> instead_;
};

class part_kernel final : public kernel {
 public:
  part_kernel(const compile_context& context, device& host, const compile_settings& settings)
      : body_(context.n.attributes.require_graph("body")),
        host_(host),
        instead_(std::make_shared<const part_on_host>(context.n, settings)) {}

  std::unique_ptr<kernel> for_shapes(const shape_context& shapes) const override {
    std::vector<std::shared_ptr<const tensor>> known(shapes.inputs.size());
    std::vector<inferred> facts(shapes.inputs.size());
    for (std::size_t i = 0; i < facts.size(); ++i) {
      const value_view& v = shapes.inputs[i];
      facts[i] = {v.type, dims(v.shape.begin(), v.shape.end())};
      if (v.data == nullptr || v.count > most_known) continue;
      const std::span<const std::byte> bytes(v.as<std::byte>(), value_bytes(v));
      known[i] =
          std::make_shared<const tensor>(tensor::view(v.type, bytes, *facts[i].shape).clone());
      facts[i].known = known[i].get();
    }
    graph g = made_for(facts);
    for (std::size_t i = 0; i < known.size(); ++i) {
      if (known[i]) g.values[g.inputs[i]].constant = known[i];
    }
    try {
      check(g);
      return std::make_unique<made_part>(std::move(g), *host_.parts());
    } catch (const error& e) {
      if (e.code() != errc::unimplemented && e.code() != errc::resource_exhausted) throw;
      instead_->warn(e);
      return std::make_unique<refused_part>(instead_);
    }
  }

  bool infer(std::span<const inferred> in, std::span<inferred> out) const {
    const graph g = made_for(in);
    std::vector<inferred> made = outputs_of(g);
    std::move(made.begin(), made.end(), out.begin());
    return !first_open(g);
  }

  const part_on_host& instead() const noexcept { return *instead_; }

  // Where a plan computes with values that it knows.
  void run(const run_context& context) const override {
    for_shapes({context.inputs, context.outputs, host_.threads()})->run(context);
  }

 private:
  // What hangs on shapes alone is constant in it. Values that are known must outlive it.
  graph made_for(std::span<const inferred> facts) const {
    graph g = specialise(*body_, facts);
    const logger silent;
    loading_limits limits;
    pass_context context{host_, silent, std::numeric_limits<std::size_t>::max() / 4, {}, limits};
    context.leave_dequantised = true;
    while (fold_constants(g, context)) infer_graph(g);
    remove_identities(g, context);
    remove_dead_code(g, context);
    infer_graph(g);
    return g;
  }

  // A node and its output whose shape is not known.
  static std::optional<std::pair<const node*, value_id>> first_open(const graph& g) {
    for (const node& n : g.nodes) {
      for (const value_id v : n.outputs) {
        if (v != no_value && !is_concrete(g.values[v].shape)) return std::pair(&n, v);
      }
    }
    return std::nullopt;
  }

  static void check(const graph& g) {
    const auto open = first_open(g);
    if (!open) return;
    throw error(errc::unimplemented, describe(*open->first),
                "the shape of its output '" + g.values[open->second].name +
                    "' is known only while it runs");
  }

  const std::shared_ptr<const graph> body_;
  device& host_;
  const std::shared_ptr<const part_on_host> instead_;
};

}  // namespace

std::unique_ptr<kernel> compile_part(const compile_context& context, device& host,
                                     const compile_settings& on_host) {
  if (host.parts() == nullptr) {
    throw error(errc::failed_precondition, describe(context.n),
                "the device computes no parts of graphs");
  }
  return std::make_unique<part_kernel>(context, host, on_host);
}

bool infer_part(const kernel* k, std::span<const inferred> in, std::span<inferred> out) {
  const auto* part = dynamic_cast<const part_kernel*>(k);
  return part == nullptr || part->infer(in, out);
}

const part_on_host* on_host(const kernel* k) {
  const auto* part = dynamic_cast<const part_kernel*>(k);
  return part == nullptr ? nullptr : &part->instead();
}

}  // namespace mizzen::inference::detail
