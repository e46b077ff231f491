#include "inference/runtime/shared_weights.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <unordered_map>
#include <utility>
#include <variant>

namespace mizzen::inference {

struct weight_cache::impl {
  detail::keyed_hash hash;
  mutable std::mutex mutex;
  std::unordered_map<std::string, std::weak_ptr<const void>> entries;
  std::size_t hits = 0;
  std::size_t next_sweep = 64;

  std::shared_ptr<const void> find(const std::string& key) {
    const std::lock_guard lock(mutex);
    const auto found = entries.find(key);
    auto held = found == entries.end() ? nullptr : found->second.lock();
    if (held) ++hits;
    return held;
  }

  // Where another thread was faster, what it has put there.
  std::shared_ptr<const void> add(const std::string& key, std::shared_ptr<const void> made) {
    const std::lock_guard lock(mutex);
    if (entries.size() >= next_sweep) {
      std::erase_if(entries, [](const auto& e) { return e.second.expired(); });
      next_sweep = std::max<std::size_t>(64, 2 * entries.size());
    }
    auto& entry = entries[key];
    if (auto held = entry.lock()) {
      ++hits;
      return held;
    }
    entry = made;
    return made;
  }
};

weight_cache::weight_cache() : impl_(std::make_unique<impl>()) {}
weight_cache::~weight_cache() = default;

std::size_t weight_cache::size() const {
  const std::lock_guard lock(impl_->mutex);
  return static_cast<std::size_t>(std::count_if(impl_->entries.begin(), impl_->entries.end(),
                                                [](const auto& e) { return !e.second.expired(); }));
}

std::size_t weight_cache::hits() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->hits;
}

namespace detail {
namespace {

// Less is not worth an entry.
constexpr std::size_t least_bytes = 4096;

__extension__ using wide = unsigned __int128;
constexpr std::uint64_t prime = (std::uint64_t{1} << 61) - 1;

// Of x < 2^124: some number below 2^61 + 8 that is equal modulo the prime.
std::uint64_t folded(wide x) noexcept {
  const std::uint64_t once =
      (static_cast<std::uint64_t>(x) & prime) + static_cast<std::uint64_t>(x >> 61);
  return (once & prime) + (once >> 61);
}

template <class T>
void append_number(std::string& key, T v) {
  char bytes[sizeof v];
  std::memcpy(bytes, &v, sizeof v);
  key.append(bytes, sizeof v);
}

void append_text(std::string& key, std::string_view text) {
  append_number(key, text.size());
  key.append(text);
}

template <class T>
void append_list(std::string& key, const std::vector<T>& list) {
  append_number(key, list.size());
  for (const T& v : list) append_number(key, v);
}

}  // namespace

keyed_hash::keyed_hash() {
  std::random_device source;
  for (std::uint64_t& k : key_) {
    k = (std::uint64_t{source()} << 32 | source()) % (prime - 2) + 1;
  }
}

keyed_hash::value keyed_hash::operator()(std::span<const std::byte> bytes) const noexcept {
  // Lanes hide the latency of the products.
  constexpr std::size_t lanes = 4;
  std::array<std::uint64_t, lanes> first{}, second{};
  first.fill(bytes.size() + 1);
  second.fill(bytes.size() + 1);
  const auto step = [&](std::size_t lane, std::uint64_t word) {
    const std::uint64_t low = word & 0xffffffff;
    const std::uint64_t high = word >> 32;
    first[lane] = folded(wide{first[lane] + low} * key_[0] + wide{high} * key_[1]);
    second[lane] = folded(wide{second[lane] + low} * key_[2] + wide{high} * key_[3]);
  };
  std::size_t at = 0;
  for (; at + 8 * lanes <= bytes.size(); at += 8 * lanes) {
    std::array<std::uint64_t, lanes> words;
    std::memcpy(words.data(), bytes.data() + at, sizeof words);
    for (std::size_t lane = 0; lane < lanes; ++lane) step(lane, words[lane]);
  }
  for (std::size_t lane = 0; at < bytes.size(); at += 8, ++lane) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
    step(lane, word);
  }
  value sum{};
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    // Each lane's sum takes two words of one more polynomial.
    for (const std::uint64_t part : {first[lane] % prime & 0xffffffff, first[lane] % prime >> 32}) {
      sum[0] = folded(wide{sum[0] + part} * key_[1]);
    }
    for (const std::uint64_t part :
         {second[lane] % prime & 0xffffffff, second[lane] % prime >> 32}) {
      sum[1] = folded(wide{sum[1] + part} * key_[3]);
    }
  }
  return {sum[0] % prime, sum[1] % prime};
}

void shared_weights::append(std::string& key, const tensor& t) const {
  append_number(key, t.type());
  append_list(key, t.shape());
  if (t.type() == element_type::string) {
    for (const std::string& text : t.data<std::string>()) append_text(key, text);
    return;
  }
  for (const std::uint64_t part : cache_->impl_->hash(t.bytes())) append_number(key, part);
}

std::string shared_weights::key_of(const compile_context& c) const {
  if (c.n.custom || c.n.captured != 0) return {};
  std::size_t most = 0;
  for (std::size_t i = 0; i < c.input_count(); ++i) {
    const auto constant = c.constant(i);
    if (constant && constant->type() != element_type::string) {
      most = std::max(most, constant->bytes().size());
    }
  }
  if (most < least_bytes) return {};
  std::string key = "kernel";
  append_text(key, c.n.domain);
  append_text(key, c.n.op_type);
  append_number(key, c.n.opset);
  for (const auto& [name, attribute] : c.n.attributes) {
    if (std::holds_alternative<std::shared_ptr<const graph>>(attribute)) return {};
    append_text(key, name);
    append_number(key, attribute.index());
    std::visit(
        [&]<class T>(const T& v) {
          if constexpr (std::is_arithmetic_v<T>) {
            append_number(key, v);
          } else if constexpr (std::is_same_v<T, std::string>) {
            append_text(key, v);
          } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
            append_number(key, v.size());
            for (const std::string& text : v) append_text(key, text);
          } else if constexpr (std::is_same_v<T, std::shared_ptr<const tensor>>) {
            append(key, *v);
          } else if constexpr (!std::is_same_v<T, std::shared_ptr<const graph>>) {
            append_list(key, v);
          }
        },
        attribute);
  }
  append_number(key, c.n.post_ops.size());
  for (const post_op& op : c.n.post_ops) {
    append_number(key, op.kind);
    append_number(key, op.alpha);
    append_number(key, op.beta);
    append_number(key, op.input);
  }
  // Symbols of dimensions are numbered per graph; here only which ones are equal counts.
  std::map<std::int64_t, std::int64_t> symbols;
  const auto append_value = [&](value_id id) {
    append_number(key, id == no_value);
    if (id == no_value) return;
    const value& v = c.g.values[id];
    append_number(key, v.type);
    append_number(key, v.shape.has_value());
    if (v.shape) {
      append_number(key, v.shape->size());
      for (const std::int64_t d : *v.shape) {
        if (d >= unknown_dim) {
          append_number(key, d);
        } else {
          const auto next = -2 - static_cast<std::int64_t>(symbols.size());
          append_number(key, symbols.try_emplace(d, next).first->second);
        }
      }
    }
    append_number(key, v.constant != nullptr);
    if (v.constant) append(key, *v.constant);
  };
  append_number(key, c.n.inputs.size());
  for (const value_id v : c.n.inputs) append_value(v);
  append_number(key, c.n.outputs.size());
  for (const value_id v : c.n.outputs) append_value(v);
  return key;
}

std::shared_ptr<const kernel> shared_weights::kernel_for(
    const compile_context& c, const std::function<std::unique_ptr<kernel>()>& compile) const {
  const std::string key = cache_ ? key_of(c) : std::string();
  if (key.empty()) return compile();
  if (auto held = cache_->impl_->find(key)) {
    return std::static_pointer_cast<const kernel>(std::move(held));
  }
  std::shared_ptr<const kernel> made = compile();
  // One that reads the constants itself holds nothing of them: they are shared on their own.
  bool packs = false;
  for (std::size_t i = 0; i < c.input_count(); ++i) {
    const auto constant = c.constant(i);
    packs = packs || (constant && constant->type() != element_type::string &&
                      constant->bytes().size() >= least_bytes && !made->reads_input(i));
  }
  if (!packs) return made;
  return std::static_pointer_cast<const kernel>(cache_->impl_->add(key, std::move(made)));
}

std::shared_ptr<const tensor> shared_weights::constant(std::shared_ptr<const tensor> own) const {
  if (!cache_ || !own || own->type() == element_type::string || own->bytes().size() < least_bytes) {
    return own;
  }
  std::string key = "constant";
  append(key, *own);
  return std::static_pointer_cast<const tensor>(cache_->impl_->add(key, std::move(own)));
}

}  // namespace detail
}  // namespace mizzen::inference
