// Plug-ins for plugin_test.cpp: MIZZEN_TEST_PLUGIN says which one this is. The good one adds,
// multiplies and rectifies, and does products by the plain loops, on a "device" that is the
// processor.
#include "inference/device/plugin.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

struct mizzen_device {
  std::size_t open_parts = 0;
};

namespace {

enum kind { good, other_version, incomplete, no_table, no_device };

#ifndef MIZZEN_TEST_PLUGIN
#error "MIZZEN_TEST_PLUGIN says which plug-in to build"
#endif
constexpr kind self = MIZZEN_TEST_PLUGIN;

constexpr std::int32_t float32 = 1;
constexpr std::int32_t unavailable = 14;
constexpr std::int32_t unimplemented = 12;

std::int32_t fail(mizzen_error* error, std::int32_t code, const char* subject, const char* text) {
  if (error != nullptr) {
    error->code = code;
    std::snprintf(error->subject, sizeof error->subject, "%s", subject);
    std::snprintf(error->message, sizeof error->message, "%s", text);
  }
  return code;
}

std::size_t count(const mizzen_value& v) {
  std::size_t n = 1;
  for (std::int32_t i = 0; i < v.rank; ++i) n *= static_cast<std::size_t>(v.shape[i]);
  return n;
}

}  // namespace

struct mizzen_compiled {
  struct value {
    std::vector<std::int64_t> shape;
    std::vector<float> constant;
    std::size_t elements = 0;
  };
  struct node {
    std::string op;
    std::vector<std::uint32_t> inputs, outputs;
  };
  mizzen_device* on = nullptr;
  std::vector<value> values;
  std::vector<node> nodes;
  std::vector<std::uint32_t> inputs, outputs;
};

namespace {

std::uint32_t device_count() { return self == no_device ? 1 : 2; }

std::int32_t describe(std::uint32_t index, mizzen_device_info* info, mizzen_error*) {
  std::snprintf(info->name, sizeof info->name, "cuda:%u", index);
  std::snprintf(info->description, sizeof info->description, "test device %u", index);
  info->available = self == no_device ? 0 : 1;
  if (self == no_device) {
    std::snprintf(info->reason, sizeof info->reason, "no driver: this one never works");
  }
  return 0;
}

std::int32_t open(std::uint32_t index, const mizzen_device_options* options, mizzen_device** device,
                  mizzen_error* error) {
  if (index == 1) return fail(error, unavailable, "device 'cuda:1'", "somebody else has it");
  if (options->size != sizeof *options) return fail(error, unavailable, "options", "size");
  *device = new mizzen_device;
  return 0;
}

void close(mizzen_device* device) {
  if (device->open_parts != 0) std::abort();
  delete device;
}

std::int32_t supports(const mizzen_device*, const mizzen_graph* graph) {
  static constexpr std::string_view known[] = {"Add", "Mul", "Relu", "MatMul", "Reshape"};
  const mizzen_node& n = graph->nodes[0];
  const auto is_data = [&](std::uint32_t i) {
    return i == 0 || std::strcmp(n.op_type, "Reshape") != 0;
  };
  for (std::uint32_t i = 0; i < n.input_count; ++i) {
    if (is_data(i) && graph->values[n.inputs[i]].type != float32) return 0;
  }
  return std::find(std::begin(known), std::end(known), n.op_type) != std::end(known) ? 1 : 0;
}

std::int32_t compile(mizzen_device* device, const mizzen_graph* graph, mizzen_compiled** compiled,
                     mizzen_error* error) {
  auto* made = new mizzen_compiled;
  made->on = device;
  for (std::uint32_t v = 0; v < graph->value_count; ++v) {
    const mizzen_value& from = graph->values[v];
    mizzen_compiled::value to;
    if (from.rank >= 0) {
      to.shape.assign(from.shape, from.shape + from.rank);
      to.elements = count(from);
    }
    if (from.constant != nullptr && from.type == float32) {
      to.constant.resize(to.elements);
      std::memcpy(to.constant.data(), from.constant, from.bytes);
    }
    made->values.push_back(std::move(to));
  }
  for (std::uint32_t i = 0; i < graph->node_count; ++i) {
    const mizzen_node& n = graph->nodes[i];
    if (std::strcmp(n.name, "refused") == 0) {
      delete made;
      return fail(error, unimplemented, "node 'refused' (Relu)", "not on this device");
    }
    made->nodes.push_back(
        {n.op_type, {n.inputs, n.inputs + n.input_count}, {n.outputs, n.outputs + n.output_count}});
  }
  made->inputs.assign(graph->inputs, graph->inputs + graph->input_count);
  made->outputs.assign(graph->outputs, graph->outputs + graph->output_count);
  ++device->open_parts;
  *compiled = made;
  return 0;
}

void release(mizzen_compiled* compiled) {
  --compiled->on->open_parts;
  delete compiled;
}

// Numpy's broadcast, by the index from the end.
float at(const mizzen_compiled::value& v, const std::vector<float>& data,
         const std::vector<std::int64_t>& shape, std::size_t flat) {
  std::size_t index = 0;
  std::size_t stride = 1;
  for (std::size_t k = 0; k < v.shape.size(); ++k) {
    const auto own = static_cast<std::size_t>(v.shape[v.shape.size() - 1 - k]);
    const auto all = static_cast<std::size_t>(shape[shape.size() - 1 - k]);
    if (own != 1) index += flat % all * stride;
    flat /= all;
    stride *= own;
  }
  return data[index];
}

void multiply(const mizzen_compiled::value& a, const std::vector<float>& x,
              const std::vector<float>& y, std::size_t columns, std::vector<float>& out) {
  const auto depth = static_cast<std::size_t>(a.shape.back());
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = 0;
    for (std::size_t k = 0; k < depth; ++k) {
      out[i] += x[i / columns * depth + k] * y[k * columns + i % columns];
    }
  }
}

std::int32_t run(const mizzen_compiled* c, const mizzen_buffer* inputs,
                 const mizzen_buffer* outputs, const mizzen_run_options*, mizzen_error*) {
  std::vector<std::vector<float>> data(c->values.size());
  for (std::size_t v = 0; v < data.size(); ++v) data[v] = c->values[v].constant;
  for (std::size_t i = 0; i < c->inputs.size(); ++i) {
    auto& to = data[c->inputs[i]];
    if (inputs[i].data == nullptr || !to.empty()) continue;
    to.resize(c->values[c->inputs[i]].elements);
    std::memcpy(to.data(), inputs[i].data, std::min(inputs[i].bytes, to.size() * sizeof(float)));
  }
  for (const auto& n : c->nodes) {
    const auto& shape = c->values[n.outputs[0]].shape;
    std::vector<float> out(c->values[n.outputs[0]].elements);
    const auto& x = data[n.inputs[0]];
    const auto get = [&](std::size_t k, std::size_t i) {
      return at(c->values[n.inputs[k]], data[n.inputs[k]], shape, i);
    };
    if (n.op == "MatMul") {
      multiply(c->values[n.inputs[0]], x, data[n.inputs[1]], static_cast<std::size_t>(shape.back()),
               out);
    }
    for (std::size_t i = 0; i < out.size() && n.op != "MatMul"; ++i) {
      if (n.op == "Reshape") out[i] = x[i];
      if (n.op == "Relu") out[i] = std::max(x[i], 0.0F);
      if (n.op == "Add") out[i] = get(0, i) + get(1, i);
      if (n.op == "Mul") out[i] = get(0, i) * get(1, i);
    }
    data[n.outputs[0]] = std::move(out);
  }
  for (std::size_t i = 0; i < c->outputs.size(); ++i) {
    if (outputs[i].data == nullptr) continue;
    std::memcpy(outputs[i].data, data[c->outputs[i]].data(), outputs[i].bytes);
  }
  return 0;
}

// The "device" has the processor's memory.
std::int32_t memory_open(std::uint32_t, mizzen_memory** memory, mizzen_error*) {
  *memory = nullptr;
  return 0;
}
void memory_close(mizzen_memory*) {}
std::int32_t memory_allocate(mizzen_memory*, std::uint64_t bytes, std::int32_t, void** data,
                             mizzen_error*) {
  *data = std::calloc(bytes, 1);
  return 0;
}
void memory_release(mizzen_memory*, void* data) { std::free(data); }
std::int32_t memory_copy(mizzen_memory*, const mizzen_buffer* from, const mizzen_buffer* to, void*,
                         mizzen_error*) {
  std::memcpy(to->data, from->data, to->bytes);
  return 0;
}
std::int32_t memory_wait(mizzen_memory*, void*, mizzen_error*) { return 0; }

const mizzen_plugin table = {
    self == incomplete ? 16U : std::uint32_t{sizeof(mizzen_plugin)},
    self == other_version ? MIZZEN_PLUGIN_ABI + 41U : MIZZEN_PLUGIN_ABI,
    "test",
    device_count,
    describe,
    open,
    close,
    supports,
    compile,
    release,
    run,
    memory_open,
    memory_close,
    memory_allocate,
    memory_release,
    memory_copy,
    memory_wait,
};

}  // namespace

extern "C" const mizzen_plugin* mizzen_plugin_entry(std::uint32_t) {
  return self == no_table ? nullptr : &table;
}
