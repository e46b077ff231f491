// Attention among the nodes of a part: two products with a softmax between them.
#pragma once

#include "cuda/lower.hpp"

#include <map>
#include <set>
#include <vector>

namespace mizzen::cuda {

struct attention_match {
  // A value whose dimensions are put in another order on the way, the last of these first.
  struct operand {
    value_id of = no_value;
    std::vector<dims> turns;
  };
  // What the scores have added, before they are multiplied by the factor; or, with a condition,
  // what they are replaced by where it is true, or where it is false.
  struct mask {
    value_id of = no_value;
    float factor = 1;
    bool is_condition = false;
    bool keeps = true;  // the scores where the condition is true
    float low = 0;
  };
  operand q, k;  // k as the product takes it: [… depth, keys]
  value_id v = no_value;
  value_id out = no_value;
  dims scores;  // shape of the first product's result
  float scale = 1;
  std::vector<mask> masks;
};

// Those that the GPU computes as one (target::takes), by the node that ends each, and the nodes
// that are then not computed by themselves.
struct attention_plan {
  std::map<const node*, attention_match> ends;
  std::set<const node*> inner;
};
attention_plan find_attention(const lowering& l);

void lower_attention(lowering& l, const attention_match& m);

// [batch, heads, rows, depth] as cuDNN takes it: the depth contiguous, rows at 16 bytes; a copy
// where it lies otherwise.
view as_operand(lowering& l, view v, element_type type);

// Whether the GPU takes it with tensors that lie so. Asked before they are made: of q, k and v only
// the shapes count.
bool takes(const lowering& l, attention_step s);

// What hides a key from a query and still is a number.
float lowest_of(element_type type) noexcept;

}  // namespace mizzen::cuda
