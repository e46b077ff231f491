#include "cuda/executor.hpp"

#include "inference/runtime/memory_planner.hpp"

#include <mizzen/core/checked.hpp>
#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace mizzen::cuda {
namespace {

using inference::detail::planned_buffer;

constexpr std::size_t alignment = 256;

std::size_t aligned(std::size_t bytes) {
  return checked_add(bytes, alignment - 1, "memory of a part") / alignment * alignment;
}

// FNV-1a: names only have to differ within one module.
std::string name_of(const std::string& text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return "k" + std::to_string(hash);
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

std::shared_ptr<const device_memory> constant_store::get(const void* data, std::size_t bytes,
                                                         queue& q) {
  const std::lock_guard lock(mutex_);
  std::erase_if(held_, [](const auto& e) { return e.second.expired(); });
  auto& entry = held_[data];
  if (auto held = entry.lock()) return held;
  auto made = std::make_shared<const device_memory>(on_, std::max<std::size_t>(bytes, 1));
  q.upload(made->get(), data, bytes);
  q.wait();
  entry = made;
  return made;
}

// Memory and queue of one run at a time.
struct executor::context {
  explicit context(const executor& of)
      : arena(of.on_, of.arena_bytes_ + of.on_.workspace_bytes(*of.program_) + alignment),
        staging(of.on_, std::max<std::size_t>(of.staging_bytes_, 1), true),
        order(of.on_.make_queue()),
        memory(of.fixed_) {
    for (std::size_t b = 0; b < memory.size(); ++b) {
      if (memory[b] == nullptr) memory[b] = arena.get() + of.offsets_[b];
    }
    workspace = arena.get() + of.arena_bytes_;
  }

  device_memory arena, staging;
  std::unique_ptr<queue> order;
  std::vector<void*> memory;
  void* workspace = nullptr;
  bool recorded = false;
};

executor::executor(gpu& on, constant_store& constants, lowered what, std::size_t memory_limit)
    : on_(on), what_(std::move(what)), program_(on.prepare(what_.plan)) {
  place();
  if (memory_limit != 0 && arena_bytes_ > memory_limit) {
    throw error(errc::resource_exhausted, "memory of a run on the device",
                "it takes " + std::to_string(arena_bytes_) + " bytes, more than the limit of " +
                    std::to_string(memory_limit) + ": raise session_options.memory_limit");
  }
  const auto q = on_.make_queue();
  const auto& buffers = what_.plan.buffers;
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    if (buffers[b].kind != buffer_kind::constant) continue;
    constants_.push_back(constants.get(buffers[b].data, buffers[b].bytes(), *q));
    fixed_[b] = constants_.back()->get();
  }
  set_up();
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
  fixed_.assign(buffers.size(), nullptr);
  std::size_t made = 0;
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    const std::size_t bytes = aligned(buffers[b].bytes());
    const bool in = buffers[b].kind == buffer_kind::input;
    const bool out = buffers[b].kind == buffer_kind::output;
    if (in || out) {
      staging_[b] = staging_bytes_;
      staging_bytes_ = checked_add(staging_bytes_, bytes, "memory of a part");
    }
    if (fixed[b]) made = checked_add(made, bytes, "memory of a part");
    if (buffers[b].kind == buffer_kind::constant || fixed[b] || (!used[b] && !in && !out)) continue;
    planned[b].bytes = bytes;
    if (in) planned[b].first = 0;
    if (out) planned[b].last = steps + 1;
  }
  arena_bytes_ = aligned(inference::detail::plan_memory(planned));
  for (std::size_t b = 0; b < buffers.size(); ++b) offsets_[b] = planned[b].offset;
  made_ = std::make_unique<device_memory>(on_, std::max(made, alignment));
  std::size_t at = 0;
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    if (!fixed[b]) continue;
    fixed_[b] = made_->get() + at;
    at += aligned(buffers[b].bytes());
  }
}

void executor::set_up() {
  if (what_.plan.setup.empty()) return;
  const device_memory workspace(on_, on_.workspace_bytes(*program_) + alignment);
  const auto q = on_.make_queue();
  for (std::size_t i = 0; i < what_.plan.setup.size(); ++i) {
    q->run(*program_, true, i, fixed_, workspace.get());
  }
  q->wait();
}

void executor::check_indices(std::span<void* const> inputs) const {
  for (const index_check& c : what_.checks) {
    const auto& buffers = what_.plan.buffers;
    const auto at = std::find_if(buffers.begin(), buffers.end(), [&](const buffer& b) {
      return b.kind == buffer_kind::input && b.index == c.input;
    });
    if (at == buffers.end()) continue;
    const auto look = [&](const auto* data) {
      for (std::int64_t i = 0; i < at->count; ++i) {
        if (data[i] >= c.low && data[i] <= c.high) continue;
        throw error(errc::out_of_range, c.node,
                    "index " + std::to_string(data[i]) + " is outside [" + std::to_string(c.low) +
                        ", " + std::to_string(c.high) + "]");
      }
    };
    if (at->type == element_type::int64) {
      look(static_cast<const std::int64_t*>(inputs[c.input]));
    } else {
      look(static_cast<const std::int32_t*>(inputs[c.input]));
    }
  }
}

void executor::enqueue(context& c) const {
  const auto& buffers = what_.plan.buffers;
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    if (buffers[b].kind != buffer_kind::input || !what_.plan.reads_input[buffers[b].index])
      continue;
    c.order->upload(c.memory[b], c.staging.get() + staging_[b], buffers[b].bytes());
  }
  for (std::size_t i = 0; i < what_.plan.steps.size(); ++i) {
    c.order->run(*program_, false, i, c.memory, c.workspace);
  }
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    if (buffers[b].kind != buffer_kind::output) continue;
    c.order->download(c.staging.get() + staging_[b], c.memory[b], buffers[b].bytes());
  }
}

void executor::run(std::span<void* const> inputs, std::span<void* const> outputs) const {
  check_indices(inputs);
  std::unique_ptr<context> c;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      c = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!c) c = std::make_unique<context>(*this);
  const auto& buffers = what_.plan.buffers;
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    const std::size_t bytes = buffers[b].bytes();
    if (buffers[b].kind != buffer_kind::input || bytes == 0) continue;
    if (!what_.plan.reads_input[buffers[b].index]) continue;
    std::memcpy(c->staging.get() + staging_[b], inputs[buffers[b].index], bytes);
  }
  // The first run does the work as it comes, so that what libraries do once is not recorded.
  if (c->recorded) {
    c->order->replay();
  } else {
    enqueue(*c);
    c->order->wait();
    if (c->order->begin_recording()) {
      enqueue(*c);
      c->order->end_recording();
      c->recorded = true;
    }
  }
  c->order->wait();
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    const std::size_t bytes = buffers[b].bytes();
    if (buffers[b].kind != buffer_kind::output || bytes == 0) continue;
    void* const to = outputs[buffers[b].index];
    if (to != nullptr) std::memcpy(to, c->staging.get() + staging_[b], bytes);
  }
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(c));
}

}  // namespace mizzen::cuda
