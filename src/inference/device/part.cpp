#include "inference/device/part.hpp"

#include "inference/graph/subgraph.hpp"
#include "inference/passes/passes.hpp"
#include "inference/runtime/program.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
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

  void run(const run_context& context) const override { computed_->run(context); }

 private:
  const graph g_;
  const std::unique_ptr<kernel> computed_;
};

class part_kernel final : public kernel {
 public:
  part_kernel(const compile_context& context, device& host)
      : body_(context.n.attributes.require_graph("body")), host_(host) {}

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
    check(g);
    return std::make_unique<made_part>(std::move(g), *host_.parts());
  }

  void infer(std::span<const inferred> in, std::span<inferred> out) const {
    std::vector<inferred> made = outputs_of(made_for(in));
    std::move(made.begin(), made.end(), out.begin());
  }

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

  static void check(const graph& g) {
    for (const node& n : g.nodes) {
      for (const value_id v : n.outputs) {
        if (v == no_value || is_concrete(g.values[v].shape)) continue;
        throw error(errc::unimplemented, describe(n),
                    "the shape of its output '" + g.values[v].name +
                        "' is known only while it runs, which a part on a device cannot have: run "
                        "this model with device \"cpu\"");
      }
    }
  }

  const std::shared_ptr<const graph> body_;
  device& host_;
};

}  // namespace

std::unique_ptr<kernel> compile_part(const compile_context& context, device& host) {
  if (host.parts() == nullptr) {
    throw error(errc::failed_precondition, describe(context.n),
                "the device computes no parts of graphs");
  }
  return std::make_unique<part_kernel>(context, host);
}

void infer_part(const kernel* k, std::span<const inferred> in, std::span<inferred> out) {
  if (const auto* part = dynamic_cast<const part_kernel*>(k)) part->infer(in, out);
}

}  // namespace mizzen::inference::detail
