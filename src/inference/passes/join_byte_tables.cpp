// A table of bytes goes into the node before it, which makes the bytes.
#include "inference/passes/passes.hpp"

#include <cstdint>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {

namespace {}  // namespace

bool join_byte_tables(graph& g) {
  const graph_index index(g);
  static const std::set<std::string_view> takers = {"ByteTable", "QLinearAdd", "QLinearConv",
                                                    "QLinearMatMul", "QLinearMul"};
  std::vector<bool> dead(g.nodes.size(), false);
  std::vector<std::size_t> producer = index.producer;
  bool changed = false;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    node& n = g.nodes[i];
    if (n.domain != "mizzen" || n.op_type != "ByteTable") continue;
    const value_id from = n.inputs[0];
    if (producer[from] == graph_index::none || !index.single_use(from)) continue;
    node& before = g.nodes[producer[from]];
    if (before.domain != "mizzen" || takers.count(before.op_type) == 0) continue;
    const tensor& second = *g.values[n.inputs[1]].constant;
    const bool is_table = before.op_type == "ByteTable";
    std::shared_ptr<const tensor> first =
        is_table ? g.values[before.inputs[1]].constant : before.attributes.get_tensor("table");
    tensor joined = second.clone();
    if (first) {
      for (std::size_t b = 0; b < 256; ++b) {
        joined.data<std::uint8_t>()[b] =
            second.data<std::uint8_t>()[first->data<std::uint8_t>()[b]];
      }
    }
    if (is_table) {
      before.inputs[1] = add_constant(g, before.name + ".table", std::move(joined));
    } else {
      before.attributes.set("table", std::make_shared<const tensor>(std::move(joined)));
    }
    before.outputs = n.outputs;
    dead[producer[from]] = true;
    producer[n.outputs[0]] = i;
    node moved = std::move(before);
    n = std::move(moved);
    changed = true;
  }
  erase_nodes(g, dead);
  return changed;
}

}  // namespace mizzen::inference::detail
