// Which nodes go into which part, on graphs made by hand.
#include "inference/passes/partition.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// Nodes named by their operator: D… are the device's, H… the host's, W… the device's and worth it.
class graph_of {
 public:
  value_id input() {
    const value_id v = value_of();
    g.inputs.push_back(v);
    return v;
  }
  value_id add(std::string op, std::vector<value_id> inputs) {
    node n;
    n.op_type = op;
    n.name = std::move(op);
    n.inputs = std::move(inputs);
    n.outputs = {value_of()};
    g.nodes.push_back(n);
    return n.outputs[0];
  }
  partition parts() const {
    const auto is = [](char a, char b) {
      return [=](const node& n) { return n.op_type[0] == a || n.op_type[0] == b; };
    };
    return find_parts(g, find_shape_nodes(g), is('D', 'W'), is('W', 'W'));
  }

  graph g;

 private:
  value_id value_of() {
    value v;
    v.name = "v" + std::to_string(g.values.size());
    v.type = element_type::float32;
    v.shape = dims{unknown_dim, 4};
    return g.add_value(std::move(v));
  }
};

constexpr auto none = partition::none;

// No way leads out of a part and back into it.
bool convex(const graph& g, const partition& p) {
  const graph_index index(g);
  for (std::size_t part = 0; part < p.count; ++part) {
    std::vector<bool> after(g.nodes.size(), false);  // outside, behind the part
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      for (const value_id v : g.nodes[i].inputs) {
        const std::size_t from = index.producer[v];
        if (from == graph_index::none) continue;
        if (p.part[i] == part && after[from]) return false;
        if (p.part[i] != part && (after[from] || p.part[from] == part)) after[i] = true;
      }
    }
  }
  return true;
}

TEST(partition, all_of_it) {
  graph_of b;
  const value_id x = b.input();
  const value_id a = b.add("Wa", {x});
  b.g.outputs = {b.add("Dc", {a, b.add("Db", {x})})};
  const partition p = b.parts();
  EXPECT_EQ(p.count, 1U);
  EXPECT_EQ(p.part, (std::vector<std::size_t>{0, 0, 0}));
}

TEST(partition, nothing_of_it) {
  graph_of b;
  b.g.outputs = {b.add("Ha", {b.input()})};
  EXPECT_EQ(b.parts().count, 0U);
}

TEST(partition, a_way_around_through_the_host_cuts) {
  graph_of b;
  const value_id a = b.add("Wa", {b.input()});
  const value_id h = b.add("Hb", {a});
  const value_id d = b.add("Dc", {a});
  b.g.outputs = {b.add("We", {h, d})};
  const partition p = b.parts();
  EXPECT_EQ(p.part, (std::vector<std::size_t>{0, none, 0, 1}));
  EXPECT_TRUE(convex(b.g, p));
}

TEST(partition, small_ones_are_left_to_the_host_and_others_then_join) {
  graph_of b;
  const value_id d = b.add("Da", {b.input()});  // one step before the host's
  const value_id h = b.add("Hb", {d});
  const value_id w = b.add("Wc", {h});
  b.g.outputs = {b.add("Dd", {w, d})};
  const partition p = b.parts();
  EXPECT_EQ(p.part, (std::vector<std::size_t>{none, none, 0, 0}));
  EXPECT_TRUE(convex(b.g, p));
}

TEST(partition, values_that_a_plan_can_know) {
  graph_of b;
  const auto integers = [&](value_id v, dims shape) {
    b.g.values[v].type = element_type::int64;
    b.g.values[v].shape = std::move(shape);
    return v;
  };
  const value_id x = b.input();
  const value_id count = integers(b.input(), {1});  // may be pinned
  const value_id ids = integers(b.input(), {unknown_dim, 8});
  const value_id shape = integers(b.add("Shape", {x}), {2});
  const value_id sum = integers(b.add("Add", {count, shape}), {2});
  const value_id from_data = integers(b.add("Cast", {x}), {1});
  const value_id mixed = integers(b.add("Add", {sum, from_data}), {2});
  const std::vector<bool> planned = find_planned_values(b.g);
  EXPECT_EQ(planned, (std::vector<bool>{false, true, false, true, true, false, false}));
  EXPECT_EQ(planned.size(), mixed + 1U);
  // In a loop's body that has x and count of its own, and captures ids.
  b.g.captures = {0};
  EXPECT_EQ(find_planned_values(b.g, true),
            (std::vector<bool>{false, false, false, true, false, false, false}));
  static_cast<void>(ids);
}

TEST(partition, shape_inputs_are_all_that_shapes_are_computed_from) {
  graph_of b;
  const value_id x = b.input();
  const value_id a = b.input();
  const value_id c = b.input();
  const value_id d = b.add("Wa", {c});      // data
  const value_id end = b.add("Dend", {a});  // of a
  b.g.values[end].type = element_type::int64;
  const value_id cut = b.add("Slice", {x, end, end});
  b.g.outputs = {b.add("Wb", {cut, d})};
  replace_parts(b.g, find_shape_nodes(b.g), {{0, 0, 0, 0}, 1});
  ASSERT_EQ(b.g.nodes.size(), 1U);
  const node& part = b.g.nodes[0];
  const auto found = std::find(part.inputs.begin(), part.inputs.end(), a);
  EXPECT_EQ(part.attributes.get_ints("shape_inputs"),
            (std::vector<std::int64_t>{found - part.inputs.begin()}));
}

TEST(partition, random_graphs_are_convex_and_acyclic) {
  std::uint32_t seed = 1;
  const auto next = [&](std::size_t below) {
    seed = seed * 1664525U + 1013904223U;
    return static_cast<std::size_t>(seed >> 8) % below;
  };
  for (int round = 0; round < 200; ++round) {
    graph_of b;
    std::vector<value_id> made = {b.input()};
    for (int i = 0; i < 40; ++i) {
      static constexpr const char* ops[] = {"Da", "Wb", "Hc"};
      made.push_back(b.add(ops[next(3)], {made[next(made.size())], made[next(made.size())]}));
    }
    b.g.outputs = {made.back(), made[made.size() / 2]};
    const partition p = b.parts();
    EXPECT_TRUE(convex(b.g, p));
    const std::size_t before = b.g.nodes.size();
    replace_parts(b.g, find_shape_nodes(b.g), p);
    EXPECT_LE(b.g.nodes.size(), before);
    // Sorted: each value is made before it is used.
    std::vector<bool> there(b.g.values.size(), false);
    for (const value_id v : b.g.inputs) there[v] = true;
    for (const node& n : b.g.nodes) {
      for (const value_id v : n.inputs) EXPECT_TRUE(there[v]);
      for (const value_id v : n.outputs) there[v] = true;
    }
    for (const value_id v : b.g.outputs) EXPECT_TRUE(there[v]);
  }
}

}  // namespace
}  // namespace mizzen::inference::detail
