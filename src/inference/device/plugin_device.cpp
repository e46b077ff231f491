#include "inference/device/plugin_device.hpp"

#include "inference/device/part.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

mizzen_error empty_error() {
  mizzen_error e{};
  e.size = sizeof e;
  return e;
}

// A graph in the structs of the plug-in, which point into it.
class flat_graph {
 public:
  explicit flat_graph(const graph& g) {
    for (const value& v : g.values) add_value(v);
    for (const node& n : g.nodes) add_node(n, n.inputs, n.outputs);
    inputs_ = g.inputs;
    outputs_ = g.outputs;
    finish();
  }

  // Of one node, with the values it uses.
  flat_graph(const graph& g, const node& n) {
    const auto add_all = [&](const std::vector<value_id>& from) {
      std::vector<std::uint32_t> ids;
      for (const value_id v : from) {
        ids.push_back(v == no_value ? MIZZEN_NO_VALUE
                                    : narrow<std::uint32_t>(values_.size(), "values"));
        if (v != no_value) add_value(g.values[v]);
      }
      return ids;
    };
    inputs_ = add_all(n.inputs);
    outputs_ = add_all(n.outputs);
    add_node(n, inputs_, outputs_);
    std::erase(inputs_, MIZZEN_NO_VALUE);
    std::erase(outputs_, MIZZEN_NO_VALUE);
    finish();
  }
  flat_graph(const flat_graph&) = delete;
  flat_graph& operator=(const flat_graph&) = delete;

  const mizzen_graph* get() const noexcept { return &flat_; }

 private:
  void add_value(const value& v) {
    mizzen_value flat{};
    flat.size = sizeof flat;
    flat.type = static_cast<std::int32_t>(v.type);
    flat.rank = -1;
    if (v.shape && v.kind == value_kind::tensor) {
      shapes_.push_back(*v.shape);
      for (std::int64_t& d : shapes_.back()) d = std::max(d, unknown_dim);
      flat.rank = static_cast<std::int32_t>(v.shape->size());
      flat.shape = shapes_.back().data();
    }
    flat.name = v.name.c_str();
    if (v.constant && v.type != element_type::string) {
      flat.constant = v.constant->bytes().data();
      flat.bytes = v.constant->bytes().size();
    }
    values_.push_back(flat);
  }

  // Kinds that no plug-in computes with are left out.
  void fill(mizzen_attribute& flat, const attribute_value& from) {
    if (const auto* i = std::get_if<std::int64_t>(&from)) {
      flat.kind = MIZZEN_ATTRIBUTE_INT;
      flat.i = *i;
    } else if (const auto* f = std::get_if<float>(&from)) {
      flat.kind = MIZZEN_ATTRIBUTE_FLOAT;
      flat.f = *f;
    } else if (const auto* s = std::get_if<std::string>(&from)) {
      flat.kind = MIZZEN_ATTRIBUTE_STRING;
      flat.s = s->c_str();
    } else if (const auto* ints = std::get_if<std::vector<std::int64_t>>(&from)) {
      flat.kind = MIZZEN_ATTRIBUTE_INTS;
      flat.ints = ints->data();
      flat.count = ints->size();
    } else if (const auto* floats = std::get_if<std::vector<float>>(&from)) {
      flat.kind = MIZZEN_ATTRIBUTE_FLOATS;
      flat.floats = floats->data();
      flat.count = floats->size();
    } else if (const auto* strings = std::get_if<std::vector<std::string>>(&from)) {
      std::string& lines = texts_.emplace_back();
      for (const std::string& line : *strings) lines += line + "\n";
      flat.kind = MIZZEN_ATTRIBUTE_STRINGS;
      flat.s = lines.c_str();
    }
  }

  void add_node(const node& n, const std::vector<std::uint32_t>& inputs,
                const std::vector<std::uint32_t>& outputs) {
    std::vector<mizzen_attribute>& attributes = attributes_.emplace_back();
    for (const auto& [name, attribute] : n.attributes) {
      mizzen_attribute flat{};
      flat.size = sizeof flat;
      flat.name = name.c_str();
      fill(flat, attribute);
      attributes.push_back(flat);
    }
    const auto& in = ids_.emplace_back(inputs);
    const auto& out = ids_.emplace_back(outputs);
    mizzen_node flat{};
    flat.size = sizeof flat;
    flat.input_count = static_cast<std::uint32_t>(in.size());
    flat.output_count = static_cast<std::uint32_t>(out.size());
    flat.attribute_count = static_cast<std::uint32_t>(attributes.size());
    flat.name = n.name.c_str();
    flat.op_type = n.op_type.c_str();
    flat.domain = n.domain.c_str();
    flat.opset = n.opset;
    flat.inputs = in.data();
    flat.outputs = out.data();
    flat.attributes = attributes.data();
    nodes_.push_back(flat);
  }

  void finish() {
    flat_.size = sizeof flat_;
    flat_.value_count = narrow<std::uint32_t>(values_.size(), "values");
    flat_.node_count = narrow<std::uint32_t>(nodes_.size(), "nodes");
    flat_.input_count = narrow<std::uint32_t>(inputs_.size(), "inputs");
    flat_.output_count = narrow<std::uint32_t>(outputs_.size(), "outputs");
    flat_.values = values_.data();
    flat_.nodes = nodes_.data();
    flat_.inputs = inputs_.data();
    flat_.outputs = outputs_.data();
  }

  // Deques: what is in them stays where it is.
  std::deque<dims> shapes_;
  std::deque<std::string> texts_;
  std::deque<std::vector<std::uint32_t>> ids_;
  std::deque<std::vector<mizzen_attribute>> attributes_;
  std::vector<mizzen_value> values_;
  std::vector<mizzen_node> nodes_;
  std::vector<std::uint32_t> inputs_, outputs_;
  mizzen_graph flat_{};
};

class opened_device {
 public:
  opened_device(std::shared_ptr<const plugin_library> library, std::uint32_t index,
                const mizzen_device_options& options)
      : library_(std::move(library)) {
    mizzen_error failed = empty_error();
    if (table().open(index, &options, &device_, &failed) != 0) throw error_of(failed);
  }
  opened_device(const opened_device&) = delete;
  opened_device& operator=(const opened_device&) = delete;
  ~opened_device() { table().close(device_); }

  const mizzen_plugin& table() const noexcept { return library_->table(); }
  mizzen_device* get() const noexcept { return device_; }

 private:
  std::shared_ptr<const plugin_library> library_;
  mizzen_device* device_ = nullptr;
};

class plugin_kernel final : public kernel {
 public:
  plugin_kernel(std::shared_ptr<const opened_device> on, const graph& g) : on_(std::move(on)) {
    mizzen_error failed = empty_error();
    if (on_->table().compile(on_->get(), flat_graph(g).get(), &compiled_, &failed) != 0) {
      throw error_of(failed);
    }
  }
  ~plugin_kernel() override { on_->table().release(compiled_); }

  bool takes_device_memory() const override { return true; }

  void run(const run_context& context) const override {
    context.check_cancelled();
    const std::vector<mizzen_buffer> in = buffers(context.inputs);
    const std::vector<mizzen_buffer> out = buffers(context.outputs);
    mizzen_error failed = empty_error();
    mizzen_run_options options{};
    options.size = sizeof options;
    options.stream = context.stream;
    if (on_->table().run(compiled_, in.data(), out.data(), &options, &failed) != 0) {
      throw error_of(failed);
    }
  }

 private:
  static std::vector<mizzen_buffer> buffers(std::span<const value_view> views) {
    std::vector<mizzen_buffer> list;
    list.reserve(views.size());
    for (const value_view& v : views) {
      list.push_back({v.data, v.present() ? byte_size(v.type, v.count) : 0,
                      v.on_device ? MIZZEN_ON_DEVICE : MIZZEN_ON_HOST});
    }
    return list;
  }

  std::shared_ptr<const opened_device> on_;
  mizzen_compiled* compiled_ = nullptr;
};

class plugin_parts final : public part_compiler {
 public:
  explicit plugin_parts(std::shared_ptr<const opened_device> on) : on_(std::move(on)) {}

  bool supports(const graph& g, const node& n) const override {
    const auto is_plain = [&](value_id v) {
      return v == no_value ||
             (g.values[v].kind == value_kind::tensor && g.values[v].type != element_type::string);
    };
    if (!std::all_of(n.inputs.begin(), n.inputs.end(), is_plain)) return false;
    if (!std::all_of(n.outputs.begin(), n.outputs.end(), is_plain)) return false;
    return on_->table().supports(on_->get(), flat_graph(g, n).get()) == 1;
  }

  std::unique_ptr<kernel> compile(const graph& g) const override {
    return std::make_unique<plugin_kernel>(on_, g);
  }

 private:
  std::shared_ptr<const opened_device> on_;
};

std::string cache_folder(const gpu_options& options) {
  if (options.cache) return options.cache->string();
  if (const char* own = std::getenv("MIZZEN_CACHE"); own != nullptr && *own != '\0') {
    return std::string(own) + "/cuda";
  }
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg != '\0') {
    return std::string(xdg) + "/mizzen/cuda";
  }
  const char* home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? std::string(home) + "/.cache/mizzen/cuda" : "";
}

}  // namespace

plugin_device::plugin_device(std::shared_ptr<const plugin_library> library, std::uint32_t index,
                             const session_options& options)
    : host_(options.threads, options.spin) {
  const std::vector<device_info> list = library->devices();
  name_ = "cuda:" + std::to_string(index);
  const std::string subject = "device '" + name_ + "'";
  if (!list.empty() && !list.front().available && index != 0) index = 0;  // one reason for all
  if (index >= list.size()) {
    throw error(errc::not_found, subject,
                "there are " + std::to_string(list.size()) +
                    " such devices; see mizzen::inference::devices()");
  }
  if (!list[index].available) throw error(errc::unavailable, subject, list[index].reason);
  const std::string cache = cache_folder(options.gpu);
  mizzen_device_options flat{};
  flat.size = sizeof flat;
  flat.math = static_cast<std::int32_t>(options.gpu.math);
  flat.memory_limit = options.memory_limit;
  flat.cache = cache.c_str();
  parts_ = std::make_unique<plugin_parts>(
      std::make_shared<const opened_device>(std::move(library), index, flat));
  // Kernels do not outlive the device: nobody need hold it for them.
  on_host_.on = {std::shared_ptr<void>(), &host_};
  on_host_.memory_limit = options.memory_limit;
  on_host_.cached_plans = options.cached_plans;
  on_host_.log = options.log;
  on_host_.on_graph = options.on_graph;
  on_host_.weights = options.weights;
  on_host_.precision = options.inference_precision;
  memory_ = find_memory_space(name_);
}

plugin_device::~plugin_device() = default;

bool plugin_device::supports(const node& n) const {
  return host_.supports(n) || (n.domain == mizzen_domain && n.op_type == part_operator);
}

std::unique_ptr<kernel> plugin_device::compile(const compile_context& context) const {
  if (context.n.domain == mizzen_domain && context.n.op_type == part_operator) {
    // The device of the session outlives its kernels.
    return compile_part(context, const_cast<plugin_device&>(*this), on_host_);
  }
  return host_.compile(context);
}

}  // namespace mizzen::inference::detail
