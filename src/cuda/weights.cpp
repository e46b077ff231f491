#include "cuda/weights.hpp"

#include <algorithm>
#include <cstdint>

namespace mizzen::cuda {
namespace {

// What each buffer was made from, as text: equal texts, equal bytes. The text of a kernel has all
// shapes and strides in it; other steps are taken for different in each schedule.
std::vector<std::string> origins(const schedule& s) {
  std::vector<std::string> from(s.buffers.size());
  for (std::size_t b = 0; b < from.size(); ++b) {
    const buffer& of = s.buffers[b];
    from[b] = std::to_string(static_cast<int>(of.type)) + " " + std::to_string(of.count);
    if (of.kind != buffer_kind::constant) continue;
    from[b] += " at " + std::to_string(reinterpret_cast<std::uintptr_t>(of.data));
  }
  for (std::size_t i = 0; i < s.setup.size(); ++i) {
    const step& one = s.setup[i];
    std::string text;
    if (const auto* k = std::get_if<kernel_step>(&one.what)) {
      text = k->source;
    } else {
      text = "step " + std::to_string(i) + " of " +
             std::to_string(reinterpret_cast<std::uintptr_t>(&s));
    }
    for (const std::size_t b : one.reads()) text += " (" + from[b] + ")";
    from[one.writes()] += " by " + text;
  }
  return from;
}

}  // namespace

weight_store::held weight_store::hold(const schedule& s, const program& p) {
  const std::size_t count = s.buffers.size();
  const std::vector<std::string> from = origins(s);
  std::vector<bool> made(count, false);    // by setup
  std::vector<bool> wanted(count, false);  // by runs
  for (const step& one : s.setup) made[one.writes()] = true;
  for (const step& one : s.steps) {
    for (const std::size_t b : one.reads()) wanted[b] = true;
  }
  const auto is_weight = [&](std::size_t b) {
    return made[b] || s.buffers[b].kind == buffer_kind::constant;
  };

  // Two that want the same at the same time make it once.
  const std::lock_guard lock(mutex_);
  std::erase_if(known_, [](const auto& e) { return e.second.expired(); });
  held have;
  std::vector<bool> missing(count, false);
  const auto look_for = [&](std::size_t b) {
    if (!is_weight(b) || have.contains(b) || missing[b]) return;
    if (const auto at = known_.find(from[b]); at != known_.end()) {
      if (auto there = at->second.lock()) {
        have.emplace(b, std::move(there));
        return;
      }
    }
    missing[b] = true;
  };
  for (std::size_t b = 0; b < count; ++b) {
    if (wanted[b]) look_for(b);
  }
  // A buffer may have several writers, all of which come before what reads it.
  std::vector<bool> needed(s.setup.size(), false);
  for (std::size_t i = s.setup.size(); i-- > 0;) {
    if (!missing[s.setup[i].writes()]) continue;
    needed[i] = true;
    for (const std::size_t b : s.setup[i].reads()) look_for(b);
  }

  const auto order = on_.make_queue();
  for (std::size_t b = 0; b < count; ++b) {
    if (!missing[b]) continue;
    const std::size_t bytes = s.buffers[b].bytes();
    auto at = std::make_shared<const device_memory>(on_, std::max<std::size_t>(bytes, 1));
    if (!made[b]) order->upload(at->get(), s.buffers[b].data, bytes);
    have.emplace(b, std::move(at));
  }
  {
    constexpr std::size_t least = 256;
    const bool any = std::find(needed.begin(), needed.end(), true) != needed.end();
    const device_memory workspace(on_, (any ? on_.workspace_bytes(p) : 0) + least);
    std::vector<void*> memory(count, nullptr);
    for (const auto& [b, at] : have) memory[b] = at->get();
    for (std::size_t i = 0; i < s.setup.size(); ++i) {
      if (needed[i]) order->run(p, true, i, memory, workspace.get());
    }
    order->wait();
  }
  // Only now: had something failed, nobody may find what was not finished.
  std::erase_if(have, [&](const auto& e) { return !wanted[e.first]; });
  for (const auto& [b, at] : have) known_[from[b]] = at;
  return have;
}

}  // namespace mizzen::cuda
