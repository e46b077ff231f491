#include "cuda/kernel_text.hpp"

#include "cuda/kernel_gemv.hpp"
#include "cuda/kernel_writer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace mizzen::cuda {

std::size_t expression::loads() const {
  std::size_t n = what == kind::load ? 1 : what == kind::product ? 2 : arguments.size();
  for (const auto& operand : operands) n += operand->loads();
  return n;
}

bool expression::calls() const {
  return what == kind::call || std::any_of(operands.begin(), operands.end(),
                                           [](const auto& operand) { return operand->calls(); });
}

const expression* expression::first_product() const {
  if (what == kind::product) return this;
  for (const auto& operand : operands) {
    if (const expression* found = operand->first_product()) return found;
  }
  return nullptr;
}

expression_ptr load(view from) {
  auto e = std::make_shared<expression>();
  e->integer = is_integer(from.type);
  e->from = std::move(from);
  return e;
}

expression_ptr load_integer(view from) {
  auto e = std::make_shared<expression>();
  e->integer = true;
  e->from = std::move(from);
  return e;
}

expression_ptr call(std::string body, std::vector<std::size_t> arguments, bool integer) {
  auto e = std::make_shared<expression>();
  e->integer = integer;
  e->what = expression::kind::call;
  e->body = std::move(body);
  e->arguments = std::move(arguments);
  return e;
}

expression_ptr operation(std::string text, std::vector<expression_ptr> operands, bool integer) {
  auto e = std::make_shared<expression>();
  e->integer = integer;
  e->what = expression::kind::operation;
  e->text = std::move(text);
  e->operands = std::move(operands);
  return e;
}

std::string integer_text(std::int64_t v) {
  if (v == std::numeric_limits<std::int64_t>::min()) return "(-9223372036854775807ll - 1)";
  return "(" + std::to_string(v) + "ll)";
}

std::string float_text(float v) {
  if (std::isnan(v)) return "(INFINITY - INFINITY)";
  if (std::isinf(v)) return v > 0 ? "INFINITY" : "(-INFINITY)";
  std::array<char, 64> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), v, std::chars_format::scientific);
  return "(" + std::string(text.data(), end.ptr) + "f)";
}

kernel_step map_kernel(const expression_ptr& e, const view& out,
                       const std::vector<buffer>& buffers) {
  if (e->first_product() != nullptr) return gemv_kernel(e, out, buffers);
  std::vector<const view*> views;
  collect(*e, views);
  views.push_back(&out);
  const bool calls = e->calls();
  const std::vector<loop> loops = make_loops(out.shape, physical_order(out), views, !calls);
  const std::int64_t width = calls ? 1 : pack_width(views, loops, buffers);
  const std::int64_t count = count_of(out.shape) / width;
  writer w(buffers);
  // The output is no argument of the functions, and comes last.
  w.body = "  const INDEX i = (INDEX)blockIdx.x * " + number(threads_per_block) +
           " + (INDEX)threadIdx.x;\n  if (i >= " + number(count) + ") return;\n";
  const auto at = w.decode(loops, "i", "x", "  ", width);
  const std::string to = w.index(out, loops, at);
  if (width == 1) {
    const std::string result = w.compute(*e, loops, at, "  ");
    w.body += "  put(q + (" + to + "), " + result + ");\n";
  } else {
    const std::string type = w.pack_of(out.buffer, width);
    w.load_packs(*e, loops, at, width, "  ");
    w.body +=
        "  " + type + " o;\n#pragma unroll\n  for (int l = 0; l < " + number(width) + "; ++l) {\n";
    const std::string result = w.compute(*e, loops, at, "    ", true);
    w.body +=
        "    put(&o.at[l], " + result + ");\n  }\n  *(" + type + "*)(q + (" + to + ")) = o;\n";
  }
  const std::int64_t blocks =
      std::max<std::int64_t>(1, (count + threads_per_block - 1) / threads_per_block);
  return w.finish(out.buffer, blocks, threads_per_block);
}

}  // namespace mizzen::cuda
