// Products of few rows: the weights are read once, as fast as memory gives them, and what follows
// is computed where a sum is finished. Sums are float32 whatever the factors are.
#include "cuda/kernel_gemv.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string>

namespace mizzen::cuda {
namespace {

constexpr std::int64_t many_blocks = 132;  // one for each multiprocessor of a large GPU

std::int64_t widest(const gemm_step::matrix& m, std::int64_t contiguous, std::int64_t most) {
  std::int64_t width = most;
  while (width > 1 && (contiguous % width != 0 || m.offset % width != 0 || m.lead % width != 0 ||
                       m.batch_stride % width != 0)) {
    width /= 2;
  }
  return width;
}

// "offset + batch * stride + row * … + column * …".
std::string place(const gemm_step::matrix& m, const std::string& row, const std::string& column) {
  const std::string& far = m.transposed ? column : row;
  const std::string& near = m.transposed ? row : column;
  std::string text = number(m.offset);
  if (m.batch_stride != 0) text += " + batch * " + number(m.batch_stride);
  return text + " + (" + far + ") * " + number(m.lead) + " + " + near;
}

// What the two forms share.
class gemv {
 public:
  gemv(const expression_ptr& e, const gemm_step& g, const view& out,
       const std::vector<buffer>& buffers)
      : e_(e), g_(g), out_(out), w_(buffers) {
    collect(*e, views_);
    views_.push_back(&out);
    std::vector<std::size_t> order(out.shape.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    loops_ = make_loops(out.shape, order, views_, !e->calls());
    a_ = w_.pointer(g.a.buffer);
    b_ = w_.pointer(g.b.buffer);
    w_.meets = true;
  }

  // Columns of b lie contiguous: a group of threads has a column of the result.
  kernel_step by_columns() {
    const std::int64_t most = size_of(g_.type) == 2 ? 8 : 4;
    const std::int64_t width = widest(g_.b, g_.k, most);
    const bool a_packs = !g_.a.transposed && widest(g_.a, g_.k, width) == width;
    const std::int64_t packs = g_.k / width;
    const std::int64_t columns = g_.batch * g_.n;
    // Lanes of a column: no more than have a pack; several warps where columns are few.
    std::int64_t lanes = std::min<std::int64_t>(
        warp, static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(packs))));
    const std::int64_t group = lanes;
    while (lanes >= warp && lanes < threads_per_block && lanes < packs &&
           columns * lanes < many_blocks * threads_per_block * 4) {
      lanes *= 2;
    }
    const std::int64_t per_block = threads_per_block / lanes;
    const std::int64_t warps = lanes > warp ? lanes / warp : 1;  // of a column
    const std::string m = number(g_.m);
    std::string front;
    if (warps > 1) front = "  __shared__ float sums[8 * " + m + "];\n";
    std::string& t = w_.body;
    t = "  const INDEX place = (INDEX)blockIdx.x * " + number(per_block) +
        " + (INDEX)threadIdx.x / " + number(lanes) +
        ";\n  const INDEX lane = (INDEX)threadIdx.x % " + number(lanes) +
        ";\n  const bool works = place < " + number(columns) + ";\n" +
        "  const INDEX batch = works ? place / " + number(g_.n) +
        " : 0;\n  const INDEX column = works ? place % " + number(g_.n) + " : 0;\n  float s[" + m +
        "];\n  for (int r = 0; r < " + m + "; ++r) s[r] = 0.0f;\n";
    const std::string pack = w_.pack_of(g_.b.buffer, width);
    t += "#pragma unroll 4\n  for (INDEX p = works ? lane : " + number(packs) + "; p < " +
         number(packs) + "; p += " + number(lanes) + ") {\n    const " + pack + " v = *(const " +
         pack + "*)(" + b_ + " + (" + place(g_.b, "p * " + number(width), "column") +
         "));\n#pragma unroll\n    for (int r = 0; r < " + m + "; ++r) {\n";
    if (a_packs) {
      const std::string a_pack = w_.pack_of(g_.a.buffer, width);
      t += "      const " + a_pack + " u = *(const " + a_pack + "*)(" + a_ + " + (" +
           place(g_.a, "r", "p * " + number(width)) + "));\n";
    }
    t += "#pragma unroll\n      for (int l = 0; l < " + number(width) + "; ++l) s[r] += " +
         (a_packs
              ? "to_float(u.at[l])"
              : "read(" + a_ + ", " + place(g_.a, "r", "(p * " + number(width) + " + l)") + ")") +
         " * to_float(v.at[l]);\n    }\n  }\n#pragma unroll\n  for (int r = 0; r < " + m +
         "; ++r) s[r] = over_lanes(s[r], 1, " + number(group) + ");\n";
    if (warps > 1) {
      t += "  if ((threadIdx.x & 31u) == 0u) {\n    for (int r = 0; r < " + m +
           "; ++r) sums[(threadIdx.x >> 5) * " + m +
           " + r] = s[r];\n  }\n  __syncthreads();\n"
           "  if (works && lane == 0) {\n    for (int r = 0; r < " +
           m +
           "; ++r) {\n"
           "      for (int i = 1; i < " +
           number(warps) + "; ++i) s[r] += sums[((threadIdx.x >> 5) + i) * " + m +
           " + r];\n    }\n  }\n";
    }
    t += "  if (!works || lane != 0) return;\n#pragma unroll\n  for (int r = 0; r < " + m +
         "; ++r) {\n";
    store("r", "column", "s[r]", "    ");
    t += "  }\n";
    return w_.finish(out_.buffer, (columns + per_block - 1) / per_block, threads_per_block, front);
  }

  // Rows of b lie contiguous: each thread has a pack of columns, and every so many rows of b.
  kernel_step by_rows() {
    const std::int64_t most = size_of(g_.type) == 2 ? 8 : 4;
    const std::int64_t width = widest(g_.b, g_.n, most);
    const std::int64_t packs = g_.n / width;
    // 32 bytes are what memory gives at least; more side by side while there is enough to do.
    std::int64_t side = 8;
    const auto blocks_of = [&](std::int64_t s) { return g_.batch * ((packs + s - 1) / s); };
    while (side > 2 && (blocks_of(side) < many_blocks || packs < side)) side /= 2;
    const std::int64_t blocks = blocks_of(side);
    const std::int64_t threads = blocks < many_blocks ? 512 : 256;
    const std::int64_t down = threads / side;
    const std::int64_t warps = threads / warp;
    const std::string m = number(g_.m);
    const std::string wide = number(width);
    const std::string line = number(side * width);
    const std::string front = "  __shared__ float sums[" + number(warps * side * width) + "];\n";
    const std::string per_batch = number((packs + side - 1) / side);
    std::string& t = w_.body;
    t = "  const INDEX batch = (INDEX)blockIdx.x / " + per_batch +
        ";\n  const INDEX first = (INDEX)blockIdx.x % " + per_batch + " * " + number(side) +
        ";\n  const INDEX pack_at = first + (INDEX)threadIdx.x % " + number(side) +
        ";\n  const bool works = pack_at < " + number(packs) + ";\n  float s[" + m + "][" + wide +
        "];\n  for (int r = 0; r < " + m + "; ++r) {\n    for (int l = 0; l < " + wide +
        "; ++l) s[r][l] = 0.0f;\n  }\n";
    const std::string pack = w_.pack_of(g_.b.buffer, width);
    t += "#pragma unroll 4\n  for (INDEX k = works ? (INDEX)threadIdx.x / " + number(side) + " : " +
         number(g_.k) + "; k < " + number(g_.k) + "; k += " + number(down) + ") {\n    const " +
         pack + " v = *(const " + pack + "*)(" + b_ + " + (" +
         place(g_.b, "k", "pack_at * " + wide) + "));\n#pragma unroll\n    for (int r = 0; r < " +
         m + "; ++r) {\n      const float u = read(" + a_ + ", " + place(g_.a, "r", "k") +
         ");\n#pragma unroll\n      for (int l = 0; l < " + wide +
         "; ++l) s[r][l] += u * to_float(v.at[l]);\n    }\n  }\n";
    // Over the lanes of a warp with the same columns, then over the warps.
    t += "#pragma unroll\n  for (int r = 0; r < " + m + "; ++r) {\n#pragma unroll\n" +
         "    for (int l = 0; l < " + wide + "; ++l) {\n      s[r][l] = over_lanes(s[r][l], " +
         number(side) + ", 32);\n      if ((threadIdx.x & 31u) < " + number(side) +
         "u) sums[(threadIdx.x >> 5) * " + line + " + (threadIdx.x & 31u) * " + wide +
         " + l] = s[r][l];\n    }\n    __syncthreads();\n    const INDEX column = first * " + wide +
         " + (INDEX)threadIdx.x;\n    if (threadIdx.x < " + line + "u && column < " + number(g_.n) +
         ") {\n      float total = sums[threadIdx.x];\n      for (int i = 1; i < " + number(warps) +
         "; ++i) total += sums[i * " + line + " + threadIdx.x];\n";
    store("r", "column", "total", "      ");
    t += "    }\n    __syncthreads();\n  }\n";
    return w_.finish(out_.buffer, blocks, threads, front);
  }

 private:
  void store(const std::string& row, const std::string& column, const std::string& sum,
             const std::string& indent) {
    w_.body += indent + "const INDEX flat = (batch * " + number(g_.m) + " + " + row + ") * " +
               number(g_.n) + " + " + column + ";\n";
    w_.product = sum;
    const auto at = w_.decode(loops_, "flat", "x", indent);
    const std::string result = w_.compute(*e_, loops_, at, indent);
    w_.body += indent + "put(q + (" + w_.index(out_, loops_, at) + "), " + result + ");\n";
  }

  const expression_ptr& e_;
  const gemm_step& g_;
  const view& out_;
  writer w_;
  std::vector<const view*> views_;
  std::vector<loop> loops_;
  std::string a_, b_;
};

}  // namespace

bool is_gemv(const gemm_step& g) noexcept {
  const bool plain = g.a_type == element_type::undefined && g.b_type == element_type::undefined &&
                     (g.type == element_type::float32 || g.type == element_type::float16 ||
                      g.type == element_type::bfloat16);
  // Where factors may be rounded, tensor cores soon have the better of it.
  const std::int64_t most = g.type == element_type::float32 && !g.tf32 ? 8 : 4;
  return plain && !g.has_bias && g.act == activation::none && (g.m <= most || g.n == 1);
}

expression_ptr gemv_product(gemm_step g) {
  if (g.n == 1 && g.m > 1) {
    // A matrix times a vector: the vector is the row of the transposed product.
    std::swap(g.a, g.b);
    g.a.transposed = !g.a.transposed;
    g.b.transposed = !g.b.transposed;
    std::swap(g.m, g.n);
  }
  auto e = std::make_shared<expression>();
  e->what = expression::kind::product;
  e->of = std::make_shared<const gemm_step>(std::move(g));
  return e;
}

kernel_step gemv_kernel(const expression_ptr& e, const view& out,
                        const std::vector<buffer>& buffers) {
  const gemm_step& g = *e->first_product()->of;
  gemv made(e, g, out, buffers);
  return g.b.transposed ? made.by_columns() : made.by_rows();
}

}  // namespace mizzen::cuda
