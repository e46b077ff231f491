#include "cuda/executor.hpp"

#include "inference/runtime/memory_planner.hpp"

#include <mizzen/core/checked.hpp>
#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <list>
#include <string>
#include <utility>

namespace mizzen::cuda {
namespace {

using inference::detail::planned_buffer;

constexpr std::size_t alignment = 256;
constexpr std::size_t most_contexts = 4;    // that wait for work of several streams
constexpr std::size_t most_recordings = 8;  // of one context
constexpr std::size_t bad_bytes = 2 * sizeof(std::int64_t);  // whether, and which index

std::size_t aligned(std::size_t bytes) {
  return checked_add(bytes, alignment - 1, "memory of a part") / alignment * alignment;
}

// FNV-1a: names only have to differ within one module.
std::string name_of(const std::string& text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return "k" + std::to_string(hash);
}

error bad_index(const index_check& c, std::int64_t index) {
  return {errc::out_of_range, c.node,
          "index " + std::to_string(index) + " is outside [" + std::to_string(c.low) + ", " +
              std::to_string(c.high) + "]"};
}

}  // namespace

module_text make_module(const schedule& s) {
  module_text m;
  m.source = prelude();
  std::map<std::string, std::string> known;  // name by text
  for (const auto* list : {&s.setup, &s.steps}) {
    for (const step& one : *list) {
      const auto* k = std::get_if<kernel_step>(&one.what);
      if (k == nullptr) continue;
      const auto [at, is_new] = known.try_emplace(k->source, name_of(k->source));
      m.names.push_back(at->second);
      if (!is_new) continue;
      std::string text = k->source;
      for (auto i = text.find("NAME"); i != std::string::npos; i = text.find("NAME", i)) {
        text.replace(i, 4, at->second);
      }
      m.source += text;
    }
  }
  return m;
}

// How an input or output gets to where the steps find it.
enum class route : std::uint8_t {
  unused,    // not read, not wanted, or empty
  staged,    // through pinned memory of the host
  in_place,  // is there
  copied,    // on the device
  guarded,   // indices: on the device, each brought within its bounds
};

// Memory and queue of one run at a time. A run that is not waited for leaves work in the queue,
// which the next run of the context then comes after.
struct executor::context {
  explicit context(const executor& of)
      : owner(of),
        arena(of.on_, of.arena_bytes_ + of.on_.workspace_bytes(*of.program_) + alignment),
        staging(of.on_, std::max<std::size_t>(of.staging_bytes_, 1), true),
        order(of.on_.make_queue()),
        own(of.offsets_.size(), nullptr),
        routes(own.size(), route::unused),
        outside(own.size(), nullptr) {
    for (std::size_t b = 0; b < own.size(); ++b) {
      const auto weight = of.weights_.find(b);
      own[b] = weight != of.weights_.end() ? weight->second->get() : arena.get() + of.offsets_[b];
    }
    memory = own;
    workspace = arena.get() + of.arena_bytes_;
  }
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  ~context() {
    try {
      order->wait();
    } catch (const error&) {  // told to whoever works with the device next
    }
    const std::lock_guard lock(owner.mutex_);
    --owner.contexts_;
  }

  // What was done with these pointers.
  struct known_pointers {
    std::vector<void*> pointers;
    std::unique_ptr<recording> recorded;
    bool refused = false;
  };

  const executor& owner;
  device_memory arena, staging;
  std::unique_ptr<queue> order;
  std::vector<void*> own, memory;  // by buffer: in the arena, and where it is in this run
  std::vector<route> routes;       // by buffer, of this run
  std::vector<void*> outside;      // by buffer: memory of the caller
  void* workspace = nullptr;
  void* stream = nullptr;                           // of the last run
  std::list<known_pointers> known;                  // the last used first
  bool guards = false;                              // whether this run has guarded indices
  std::unique_ptr<device_memory> bad, bad_staging;  // two numbers for each check
};

// Looks at indices in the device's memory.
struct executor::guard {
  schedule plan;
  std::unique_ptr<const program> made;
};

executor::executor(gpu& on, weight_store& weights, lowered what, std::size_t memory_limit)
    : on_(on), what_(std::move(what)), program_(on.prepare(what_.plan)) {
  place();
  if (memory_limit != 0 && arena_bytes_ > memory_limit) {
    throw error(errc::resource_exhausted, "memory of a run on the device",
                "it takes " + std::to_string(arena_bytes_) + " bytes, more than the limit of " +
                    std::to_string(memory_limit) + ": raise session_options.memory_limit");
  }
  weights_ = weights.hold(what_.plan, *program_);
}

executor::~executor() = default;

// Offsets of what each run has anew, and of what crosses from and to the host.
void executor::place() {
  const auto& buffers = what_.plan.buffers;
  const std::size_t steps = what_.plan.steps.size();
  std::vector<bool> fixed(buffers.size(), false);
  for (const step& s : what_.plan.setup) fixed[s.writes()] = true;
  std::vector<planned_buffer> planned(buffers.size());
  std::vector<bool> used(buffers.size(), false);
  for (std::size_t i = 0; i < steps; ++i) {
    const step& s = what_.plan.steps[i];
    auto touched = s.reads();
    touched.push_back(s.writes());
    for (const std::size_t b : touched) {
      if (!used[b]) planned[b].first = i + 1;
      used[b] = true;
      planned[b].last = i + 1;
    }
  }
  offsets_.assign(buffers.size(), 0);
  staging_.assign(buffers.size(), 0);
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    const std::size_t bytes = aligned(buffers[b].bytes());
    const bool in = buffers[b].kind == buffer_kind::input;
    const bool out = buffers[b].kind == buffer_kind::output;
    if (in || out) {
      staging_[b] = staging_bytes_;
      staging_bytes_ = checked_add(staging_bytes_, bytes, "memory of a part");
    }
    if (buffers[b].kind == buffer_kind::constant || fixed[b] || (!used[b] && !in && !out)) continue;
    planned[b].bytes = bytes;
    if (in) planned[b].first = 0;
    if (out) planned[b].last = steps + 1;
  }
  arena_bytes_ = aligned(inference::detail::plan_memory(planned));
  for (std::size_t b = 0; b < buffers.size(); ++b) offsets_[b] = planned[b].offset;
}

std::size_t executor::input_buffer(std::size_t input) const {
  const auto& buffers = what_.plan.buffers;
  const auto at = std::find_if(buffers.begin(), buffers.end(), [&](const buffer& b) {
    return b.kind == buffer_kind::input && b.index == input;
  });
  return static_cast<std::size_t>(at - buffers.begin());
}

void executor::check_indices(std::span<const binding> inputs) const {
  for (const index_check& c : what_.checks) {
    const std::size_t b = input_buffer(c.input);
    if (b == what_.plan.buffers.size()) continue;
    const buffer& at = what_.plan.buffers[b];
    if (inputs[c.input].on_device) {
      if (at.count == 0 || c.low <= c.high) continue;
      throw error(errc::out_of_range, c.node, "there is nothing that an index could be of");
    }
    const auto look = [&](const auto* data) {
      for (std::int64_t i = 0; i < at.count; ++i) {
        if (data[i] < c.low || data[i] > c.high) throw bad_index(c, data[i]);
      }
    };
    if (at.type == element_type::int64) {
      look(static_cast<const std::int64_t*>(inputs[c.input].data));
    } else {
      look(static_cast<const std::int32_t*>(inputs[c.input].data));
    }
  }
}

// A kernel for each check: from the caller's memory (the second of one input: from its own) to its
// own, and told of one index outside.
const executor::guard& executor::guard_of_indices() const {
  const std::lock_guard lock(mutex_);
  if (guard_) return *guard_;
  auto g = std::make_unique<guard>();
  g->plan.buffers.resize(3 * what_.checks.size());
  for (std::size_t i = 0; i < what_.checks.size(); ++i) {
    const index_check& c = what_.checks[i];
    const std::size_t b = input_buffer(c.input);
    if (b == what_.plan.buffers.size()) continue;
    const buffer& of = what_.plan.buffers[b];
    const std::string type = of.type == element_type::int64 ? "long long" : "int";
    const std::string low = std::to_string(c.low);
    const std::string high = std::to_string(c.high);
    kernel_step k;
    k.threads = 256;
    k.blocks = narrow<std::uint32_t>((of.count + 255) / 256, "blocks of a kernel");
    k.buffers = {3 * i, 3 * i + 1, 3 * i + 2};
    k.source =
        "extern \"C\" __global__ void __launch_bounds__(256) NAME(const " + type + "* from, " +
        type + "* to, long long* bad) {\n  const long long i = " +
        "(long long)blockIdx.x * 256 + threadIdx.x;\n  if (i >= " + std::to_string(of.count) +
        "LL) return;\n  const long long v = from[i];\n" + "  if (v < " + low + "LL || v > " + high +
        "LL) {\n    bad[1] = v;\n" + "    bad[0] = 1;\n  }\n  to[i] = (" + type + ")(v < " + low +
        "LL ? " + low + "LL : v > " + high + "LL ? " + high + "LL : v);\n}\n";
    g->plan.steps.push_back({std::move(k), c.node});
  }
  g->made = on_.prepare(g->plan);
  guard_ = std::move(g);
  return *guard_;
}

// Of the context's last runs; only where all its work is done.
std::optional<error> executor::told(context& c) const {
  if (!c.bad) return std::nullopt;
  auto* const bad = reinterpret_cast<std::int64_t*>(c.bad_staging->get());
  for (std::size_t i = 0; i < what_.checks.size(); ++i) {
    if (bad[2 * i] == 0) continue;
    error e = bad_index(what_.checks[i], bad[2 * i + 1]);
    const std::size_t bytes = what_.checks.size() * bad_bytes;
    std::memset(bad, 0, bytes);
    c.order->upload(c.bad->get(), bad, bytes);
    c.order->wait();
    return e;
  }
  return std::nullopt;
}

std::unique_ptr<executor::context> executor::take(void* stream) const {
  {
    const std::lock_guard lock(mutex_);
    auto at = std::find_if(idle_.rbegin(), idle_.rend(),
                           [&](const auto& c) { return c->stream == stream; });
    if (at == idle_.rend()) {
      at = std::find_if(idle_.rbegin(), idle_.rend(),
                        [&](const auto& c) { return c->order->idle(); });
    }
    // Work on several streams may overlap, but not take all memory.
    if (at == idle_.rend() && !idle_.empty() && contexts_ >= most_contexts) at = idle_.rbegin();
    if (at != idle_.rend()) {
      std::unique_ptr<context> c = std::move(*at);
      idle_.erase(std::next(at).base());
      return c;
    }
    ++contexts_;
  }
  try {
    return std::make_unique<context>(*this);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    --contexts_;
    throw;
  }
}

void executor::give_back(std::unique_ptr<context> c) const {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(c));
}

void executor::bind(context& c, std::span<const binding> inputs,
                    std::span<const binding> outputs) const {
  const auto& buffers = what_.plan.buffers;
  c.memory = c.own;
  c.guards = false;
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    c.routes[b] = route::unused;
    c.outside[b] = nullptr;
    const bool in = buffers[b].kind == buffer_kind::input;
    if (!in && buffers[b].kind != buffer_kind::output) continue;
    const std::size_t index = buffers[b].index;
    const binding& at = in ? inputs[index] : outputs[index];
    if (buffers[b].bytes() == 0 || at.data == nullptr) continue;
    if (in && !what_.plan.reads_input[index]) continue;
    if (!at.on_device) {
      c.routes[b] = route::staged;
      continue;
    }
    c.outside[b] = at.data;
    const bool is_index = in && std::any_of(what_.checks.begin(), what_.checks.end(),
                                            [&](const auto& k) { return k.input == index; });
    c.routes[b] = is_index                                                     ? route::guarded
                  : reinterpret_cast<std::uintptr_t>(at.data) % alignment == 0 ? route::in_place
                                                                               : route::copied;
    if (c.routes[b] == route::in_place) c.memory[b] = at.data;
    c.guards = c.guards || is_index;
  }
  if (!c.guards) return;
  guard_of_indices();
  if (c.bad) return;
  const std::size_t bytes = what_.checks.size() * bad_bytes;
  c.bad_staging = std::make_unique<device_memory>(on_, bytes, true);
  std::memset(c.bad_staging->get(), 0, bytes);
  c.bad = std::make_unique<device_memory>(on_, bytes);
  c.order->upload(c.bad->get(), c.bad_staging->get(), bytes);
  c.order->wait();
}

void executor::enqueue(context& c) const {
  const auto& buffers = what_.plan.buffers;
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    if (buffers[b].kind != buffer_kind::input) continue;
    if (c.routes[b] == route::staged) {
      c.order->upload(c.memory[b], c.staging.get() + staging_[b], buffers[b].bytes());
    } else if (c.routes[b] == route::copied) {
      c.order->copy(c.memory[b], c.outside[b], buffers[b].bytes());
    }
  }
  if (c.guards) {
    const guard& g = guard_of_indices();
    std::vector<void*> memory(3 * what_.checks.size(), nullptr);
    std::vector<bool> met(buffers.size(), false);
    std::size_t step = 0;
    for (std::size_t i = 0; i < what_.checks.size(); ++i) {
      const std::size_t b = input_buffer(what_.checks[i].input);
      if (b == buffers.size()) continue;
      if (c.routes[b] == route::guarded) {
        memory[3 * i] = met[b] ? c.memory[b] : c.outside[b];
        memory[3 * i + 1] = c.memory[b];
        memory[3 * i + 2] = c.bad->get() + i * bad_bytes;
        met[b] = true;
        c.order->run(*g.made, false, step, memory, nullptr);
      }
      ++step;
    }
  }
  for (std::size_t i = 0; i < what_.plan.steps.size(); ++i) {
    c.order->run(*program_, false, i, c.memory, c.workspace);
  }
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    if (buffers[b].kind != buffer_kind::output) continue;
    if (c.routes[b] == route::staged) {
      c.order->download(c.staging.get() + staging_[b], c.memory[b], buffers[b].bytes());
    } else if (c.routes[b] == route::copied) {
      c.order->copy(c.outside[b], c.memory[b], buffers[b].bytes());
    }
  }
  if (c.guards) {
    c.order->download(c.bad_staging->get(), c.bad->get(), what_.checks.size() * bad_bytes);
  }
}

// The first run with these pointers does the work as it comes, so that what libraries do once is
// not recorded, nor what is done but once.
void executor::do_work(context& c) const {
  std::vector<void*> pointers;
  for (std::size_t b = 0; b < c.routes.size(); ++b) {
    // What is not used is told from what is staged by an address that nothing has.
    pointers.push_back(c.routes[b] == route::unused ? &c : c.outside[b]);
  }
  auto at = std::find_if(c.known.begin(), c.known.end(),
                         [&](const auto& k) { return k.pointers == pointers; });
  if (at == c.known.end()) {
    enqueue(c);
    c.known.push_front({std::move(pointers), nullptr, false});
    if (c.known.size() > most_recordings) c.known.pop_back();
    return;
  }
  c.known.splice(c.known.begin(), c.known, at);
  if (!at->recorded && !at->refused) {
    at->recorded = c.order->record([&] { enqueue(c); });
    at->refused = at->recorded == nullptr;
  }
  if (at->recorded) {
    c.order->replay(*at->recorded);
  } else {
    enqueue(c);
  }
}

void executor::run(std::span<const binding> inputs, std::span<const binding> outputs,
                   void* stream) const {
  check_indices(inputs);
  std::unique_ptr<context> c = take(stream);
  if (c->bad && c->order->idle()) {
    if (const auto e = told(*c)) {
      give_back(std::move(c));
      throw error(*e);
    }
  }
  bind(*c, inputs, outputs);
  c->stream = stream;
  if (stream != nullptr) c->order->follow(stream);
  const auto& buffers = what_.plan.buffers;
  bool waits = stream == nullptr;
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    if (c->routes[b] != route::staged) continue;
    waits = true;
    if (buffers[b].kind != buffer_kind::input) continue;
    std::memcpy(c->staging.get() + staging_[b], inputs[buffers[b].index].data, buffers[b].bytes());
  }
  do_work(*c);
  if (stream != nullptr) c->order->precede(stream);
  std::optional<error> failed;
  if (waits) {
    c->order->wait();
    failed = told(*c);
    for (std::size_t b = 0; b < buffers.size() && !failed; ++b) {
      if (c->routes[b] != route::staged || buffers[b].kind != buffer_kind::output) continue;
      std::memcpy(outputs[buffers[b].index].data, c->staging.get() + staging_[b],
                  buffers[b].bytes());
    }
  }
  give_back(std::move(c));
  if (failed) throw error(*failed);
}

}  // namespace mizzen::cuda
