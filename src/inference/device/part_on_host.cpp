#include "inference/device/part_on_host.hpp"

#include "inference/passes/passes.hpp"
#include "inference/runtime/executable.hpp"

#include <cstring>
#include <string>
#include <utility>

namespace mizzen::inference::detail {

part_on_host::part_on_host(const node& n, compile_settings settings)
    : name_(n.name), body_(n.attributes.require_graph("body")), settings_(std::move(settings)) {}

part_on_host::~part_on_host() = default;

void part_on_host::warn(const error& reason) const {
  if (warned_.exchange(true)) return;
  settings_.log.log(log_level::warning, "inference", "part of the graph runs on the processor",
                    {{"part", name_},
                     {"nodes", body_->nodes.size()},
                     {"subject", reason.subject()},
                     {"reason", reason.message()}});
}

const executable& part_on_host::compiled() const {
  const std::lock_guard lock(mutex_);
  if (compiled_) return *compiled_;
  graph g = *body_;
  pass_context passes{*settings_.on,      settings_.log,     settings_.memory_limit,
                      settings_.on_graph, *settings_.limits, name_ + " on the processor: ",
                      settings_.precision};
  passes.show("imported", g);
  run_passes(g, passes);
  compiled_ = std::make_unique<const executable>(std::move(g), settings_);
  return *compiled_;
}

std::vector<item> part_on_host::run(std::span<const item> inputs, const run_state& state,
                                    std::span<tensor* const> into) const {
  return compiled().run(inputs, state, into);
}

void part_on_host::run(const run_context& context) const {
  static const cancellation nobody;
  const auto dims_of = [](const value_view& v) {
    return shape_type(v.shape.begin(), v.shape.end());
  };
  std::vector<item> inputs;
  for (const value_view& v : context.inputs) {
    const std::span<const std::byte> bytes(v.as<std::byte>(), value_bytes(v));
    inputs.emplace_back(std::make_shared<const tensor>(tensor::view(v.type, bytes, dims_of(v))));
  }
  std::vector<tensor> outputs(context.outputs.size());
  std::vector<tensor*> into(outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const value_view& v = context.outputs[i];
    if (!v.present()) continue;
    outputs[i] = tensor::view(v.type, std::span(v.as<std::byte>(), value_bytes(v)), dims_of(v));
    into[i] = &outputs[i];
  }
  const run_state state{context.cancel != nullptr ? *context.cancel : nobody,
                        std::make_shared<memory_account>(settings_.memory_limit)};
  const std::vector<item> made = run(inputs, state, into);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (into[i] == nullptr || made[i].one.get() == into[i]) continue;
    const auto from = made[i].one->bytes();
    if (!from.empty()) std::memcpy(outputs[i].mutable_bytes().data(), from.data(), from.size());
  }
}

void part_on_host::release_memory() const noexcept {
  const std::lock_guard lock(mutex_);
  if (compiled_) compiled_->release_memory();
}

}  // namespace mizzen::inference::detail
