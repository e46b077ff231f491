// The functions of the plug-in's interface: nothing but the way from C to C++ and back.
#include "cuda/backend.hpp"
#include "cuda/executor.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cstdio>
#include <new>
#include <string>
#include <utility>
#include <vector>

using namespace mizzen::cuda;

struct mizzen_device {
  std::unique_ptr<gpu> on;
  std::unique_ptr<weight_store> weights;
  arithmetic math = arithmetic::float32;
  std::size_t memory_limit = 0;
};

struct mizzen_memory {
  std::unique_ptr<memory> on;
};

struct mizzen_compiled {
  std::size_t inputs = 0, outputs = 0;
  std::unique_ptr<const executor> runs;
};

namespace {

template <std::size_t N>
void put_text(char (&to)[N], const std::string& text) {
  const std::size_t n = std::min(text.size(), N - 1);
  std::copy_n(text.data(), n, to);
  to[n] = '\0';
}

std::int32_t tell(mizzen_error* to, mizzen::errc code, const std::string& subject,
                  const std::string& message) {
  const std::int32_t number = static_cast<std::int32_t>(code) + 1;
  if (to != nullptr && to->size >= sizeof *to) {
    to->code = number;
    put_text(to->subject, subject);
    put_text(to->message, message);
  }
  return number;
}

// Exceptions become codes.
template <class Fn>
std::int32_t guarded(mizzen_error* to, Fn&& fn) noexcept {
  try {
    fn();
    return 0;
  } catch (const mizzen::error& e) {
    return tell(to, e.code(), e.subject(), e.message());
  } catch (const std::bad_alloc&) {
    return tell(to, mizzen::errc::resource_exhausted, "CUDA", "no memory");
  } catch (const std::exception& e) {
    return tell(to, mizzen::errc::internal, "CUDA", e.what());
  } catch (...) {
    return tell(to, mizzen::errc::unknown, "CUDA", "unknown exception");
  }
}

std::uint32_t device_count() { return static_cast<std::uint32_t>(list_gpus().size()); }

std::int32_t describe_device(std::uint32_t index, mizzen_device_info* info, mizzen_error* failed) {
  return guarded(failed, [&] {
    const std::string name = "cuda:" + std::to_string(index);
    const std::vector<gpu_info> list = list_gpus();
    if (index >= list.size()) {
      throw mizzen::error(mizzen::errc::not_found, "device '" + name + "'", "there is no such GPU");
    }
    put_text(info->name, name);
    put_text(info->description, list[index].description);
    put_text(info->reason, list[index].reason);
    info->available = list[index].available ? 1 : 0;
  });
}

std::int32_t open_device(std::uint32_t index, const mizzen_device_options* options,
                         mizzen_device** device, mizzen_error* failed) {
  return guarded(failed, [&] {
    auto made = std::make_unique<mizzen_device>();
    const std::string cache = options->cache != nullptr ? options->cache : "";
    made->on = open_gpu(index, cache);
    made->weights = std::make_unique<weight_store>(*made->on);
    if (options->math < 0 || options->math > MIZZEN_MATH_FLOAT16) {
      throw mizzen::error(mizzen::errc::invalid_argument, "options.gpu.math", "unknown");
    }
    made->math = static_cast<arithmetic>(options->math);
    made->memory_limit = options->memory_limit;
    *device = made.release();
  });
}

void close_device(mizzen_device* device) { delete device; }

std::int32_t supports(const mizzen_device*, const mizzen_graph* graph) {
  bool can = false;
  const std::int32_t failed = guarded(nullptr, [&] {
    const part p = read_part(*graph);
    can = p.nodes.size() == 1 && can_lower(p, p.nodes.front());
  });
  return failed == 0 && can ? 1 : 0;
}

std::int32_t compile(mizzen_device* device, const mizzen_graph* graph, mizzen_compiled** compiled,
                     mizzen_error* failed) {
  return guarded(failed, [&] {
    const part p = read_part(*graph);
    for (const value_id v : p.inputs) {
      if (!p.values[v].is_concrete()) {
        throw mizzen::error(mizzen::errc::invalid_argument, "input '" + p.values[v].name + "'",
                            "its shape is not known");
      }
    }
    for (const node& n : p.nodes) {
      for (const value_id v : n.outputs) {
        if (v == no_value || p.values[v].is_concrete()) continue;
        throw mizzen::error(mizzen::errc::invalid_argument, describe(n),
                            "the shape of an output is not known");
      }
    }
    auto made = std::make_unique<mizzen_compiled>();
    made->inputs = p.inputs.size();
    made->outputs = p.outputs.size();
    lowered plan = lower(p, device->math, {device->on->capability(), [&](const attention_step& s) {
                                             return device->on->takes(s);
                                           }});
    made->runs = std::make_unique<const executor>(*device->on, *device->weights, std::move(plan),
                                                  device->memory_limit);
    *compiled = made.release();
  });
}

void release(mizzen_compiled* compiled) { delete compiled; }

binding binding_of(const mizzen_buffer& b) { return {b.data, b.location == MIZZEN_ON_DEVICE}; }

std::int32_t run(const mizzen_compiled* compiled, const mizzen_buffer* inputs,
                 const mizzen_buffer* outputs, const mizzen_run_options* options,
                 mizzen_error* failed) {
  return guarded(failed, [&] {
    std::vector<binding> in(compiled->inputs), out(compiled->outputs);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = binding_of(inputs[i]);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = binding_of(outputs[i]);
    compiled->runs->run(in, out, options != nullptr ? options->stream : nullptr);
  });
}

std::int32_t memory_open(std::uint32_t index, mizzen_memory** opened, mizzen_error* failed) {
  return guarded(failed, [&] {
    const std::vector<gpu_info> list = list_gpus();
    const std::string subject = "device 'cuda:" + std::to_string(index) + "'";
    if (index >= list.size()) {
      throw mizzen::error(mizzen::errc::not_found, subject, "there is no such GPU");
    }
    if (!list[index].available) {
      throw mizzen::error(mizzen::errc::unavailable, subject, list[index].reason);
    }
    auto made = std::make_unique<mizzen_memory>();
    made->on = open_memory(index);
    *opened = made.release();
  });
}

void memory_close(mizzen_memory* of) { delete of; }

std::int32_t memory_allocate(mizzen_memory* of, std::uint64_t bytes, std::int32_t zero, void** data,
                             mizzen_error* failed) {
  return guarded(failed, [&] { *data = of->on->allocate(bytes, zero != 0); });
}

void memory_release(mizzen_memory* of, void* data) { of->on->release(data); }

std::int32_t memory_copy(mizzen_memory* of, const mizzen_buffer* from, const mizzen_buffer* to,
                         void* stream, mizzen_error* failed) {
  return guarded(failed, [&] {
    of->on->copy(to->data, to->location == MIZZEN_ON_DEVICE, from->data,
                 from->location == MIZZEN_ON_DEVICE, to->bytes, stream);
  });
}

std::int32_t memory_wait(mizzen_memory* of, void* stream, mizzen_error* failed) {
  return guarded(failed, [&] { of->on->wait(stream); });
}

const mizzen_plugin table = {
    sizeof(mizzen_plugin),
    MIZZEN_PLUGIN_ABI,
    MIZZEN_VERSION_TEXT,
    device_count,
    describe_device,
    open_device,
    close_device,
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

extern "C" __attribute__((visibility("default"))) const mizzen_plugin* mizzen_plugin_entry(
    std::uint32_t) {
  return &table;
}
