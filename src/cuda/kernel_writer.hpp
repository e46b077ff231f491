// Pieces that the kernels' texts are put together from.
#pragma once

#include "cuda/kernel_text.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::cuda {

inline constexpr std::int64_t threads_per_block = 256;
inline constexpr std::int64_t warp = 32;

std::string_view type_text(element_type type);
std::string number(std::int64_t v);

// Loops over a shape, outermost first; dimensions that every tensor runs through as one are one.
struct loop {
  std::int64_t size = 1;
  std::vector<std::size_t> dimensions;  // outermost first
};

std::int64_t stride_of(const view& v, const loop& l);

// Views that the expression loads.
void collect(const expression& e, std::vector<const view*>& views);

// At least one loop. merge: make one of several dimensions where all views allow it.
std::vector<loop> make_loops(const dims& shape, const std::vector<std::size_t>& order,
                             const std::vector<const view*>& views, bool merge);

// How many elements along the last loop are read and written at once: as many as make 16 bytes of
// the narrowest type, less where layouts or the number of elements say so. At least 1.
std::int64_t pack_width(const std::vector<const view*>& views, const std::vector<loop>& loops,
                        const std::vector<buffer>& buffers);

// The text of one kernel under way.
class writer {
 public:
  explicit writer(const std::vector<buffer>& buffers) : buffers_(buffers) {}

  // The name of the pointer argument for a buffer.
  std::string pointer(std::size_t b);
  std::string_view type_of(std::size_t b) const { return type_text(buffers_[b].type); }
  // "pack<half_t, 8>".
  std::string pack_of(std::size_t b, std::int64_t width) const;

  std::string index(const view& v, const std::vector<loop>& loops,
                    const std::vector<std::string>& at) const;

  // Statements that compute the expression; returns the name of the result. packs: along the last
  // loop, at[...] being where a pack begins and l the element of it (see load_packs).
  std::string compute(const expression& e, const std::vector<loop>& loops,
                      const std::vector<std::string>& at, const std::string& indent,
                      bool packs = false);

  // Loads of width elements at once, before the loop over them.
  void load_packs(const expression& e, const std::vector<loop>& loops,
                  const std::vector<std::string>& at, std::int64_t width,
                  const std::string& indent);

  // Before statements in another scope.
  void forget_results() {
    results_.clear();
    packs_.clear();
  }

  // Coordinates of the loops from a flat index, as statements; returns their names. width: the
  // index counts packs of that many.
  std::vector<std::string> decode(const std::vector<loop>& loops, const std::string& flat,
                                  const std::string& prefix, const std::string& indent,
                                  std::int64_t width = 1);

  // front: what comes before the body.
  kernel_step finish(std::size_t out, std::int64_t blocks, std::int64_t threads,
                     const std::string& front = {});

  std::string body;
  // The value of the product in an expression, see expression::kind::product.
  std::string product;
  // Whether threads meet: at barriers, or passing values within a warp.
  bool meets = false;

 private:
  std::string add_function(const expression& e, std::size_t rank);

  const std::vector<buffer>& buffers_;
  std::map<std::size_t, std::string> names_;  // by buffer
  std::vector<std::size_t> order_;
  std::vector<const expression*> functions_;
  std::vector<std::size_t> rank_;
  std::map<const expression*, std::string> results_, packs_;
  std::size_t temporaries_ = 0;
  bool long_ = false;
};

}  // namespace mizzen::cuda
