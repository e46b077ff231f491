// TfIdfVectorizer on integers.
#include "inference/cpu/ops/plain.hpp"

#include <algorithm>
#include <map>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// Source: ONNX TfIdfVectorizer-9: counts the n-grams of the pool, with gaps up to max_skip_count.
class tfidf_op final : public plain_op {
 public:
  explicit tfidf_op(const compile_context& c) {
    const attribute_map& a = c.n.attributes;
    if (a.has("pool_strings")) c.unsupported("strings");
    const std::string mode = a.get_string("mode", "");
    if (mode != "TF" && mode != "IDF" && mode != "TFIDF") c.invalid("unknown mode '" + mode + "'");
    once_ = mode == "IDF";
    const std::vector<float> weights =
        mode == "TF" ? std::vector<float>{} : a.get_floats("weights");
    shortest_ = a.require_int("min_gram_length");
    longest_ = a.require_int("max_gram_length");
    skips_ = a.require_int("max_skip_count");
    if (shortest_ < 1 || longest_ < shortest_ || longest_ > most || skips_ < 0 || skips_ > most) {
      c.invalid("min_gram_length, max_gram_length or max_skip_count is out of range");
    }
    const std::vector<std::int64_t> pool = a.get_ints("pool_int64s");
    const std::vector<std::int64_t> starts = a.get_ints("ngram_counts");
    const std::vector<std::int64_t> columns = a.get_ints("ngram_indexes");
    std::size_t next = 0;
    for (std::size_t i = 0; i < starts.size(); ++i) {
      const auto size = static_cast<std::int64_t>(i + 1);
      const std::int64_t begin = starts[i];
      const std::int64_t end =
          i + 1 < starts.size() ? starts[i + 1] : static_cast<std::int64_t>(pool.size());
      if (begin < 0 || end < begin || end > static_cast<std::int64_t>(pool.size()) ||
          (end - begin) % size != 0) {
        c.invalid("ngram_counts does not fit its pool");
      }
      for (std::int64_t at = begin; at < end; at += size, ++next) {
        if (next >= columns.size()) c.invalid("ngram_indexes has too few entries");
        if (columns[next] < 0 || (!weights.empty() && next >= weights.size())) {
          c.invalid("ngram_indexes or weights does not fit its pool");
        }
        if (size < shortest_ || size > longest_) continue;
        const auto first = pool.begin() + at;
        grams_[std::vector<std::int64_t>(first, first + size)] = {
            columns[next], weights.empty() ? 1 : static_cast<double>(weights[next])};
      }
    }
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& y = r.out(0);
    std::fill_n(y.data, y.count, 0.0);
    const integer rows = x.rank() == 2 ? x.dim(0) : 1;
    const integer length = rows == 0 ? 0 : x.count / rows;
    const integer columns = y.dim(-1);
    for (integer row = 0; row < rows; ++row) {
      const double* const from = x.data + row * length;
      for (const auto& [gram, entry] : grams_) {
        const auto size = static_cast<integer>(gram.size());
        double count = 0;
        // Single items have no gaps to leave.
        for (integer step = 1; step <= (size == 1 ? 1 : skips_ + 1); ++step) {
          for (integer at = 0; at + step * (size - 1) < length; ++at) {
            bool same = true;
            for (integer k = 0; k < size && same; ++k) {
              same = from[at + k * step] == real(gram[static_cast<std::size_t>(k)]);
            }
            if (same) ++count;
          }
        }
        if (count != 0) y.data[row * columns + entry.column] += (once_ ? 1 : count) * entry.weight;
      }
    }
  }

 private:
  static constexpr std::int64_t most = 1 << 16;
  struct place {
    std::int64_t column;
    double weight;
  };
  std::map<std::vector<std::int64_t>, place> grams_;
  std::int64_t shortest_ = 1, longest_ = 1, skips_ = 0;
  bool once_ = false;
};

}  // namespace

void register_tfidf(op_registry& registry) {
  registry.add_plain("TfIdfVectorizer", {compile_plain<tfidf_op>}, 9);
}

}  // namespace mizzen::inference::detail
