// Products of one value with several weights (queries, keys and values of attention) as one.
#pragma once

#include "cuda/lower_attention.hpp"

#include <cstddef>
#include <map>
#include <set>
#include <vector>

namespace mizzen::cuda {

struct shared_product {
  struct member {
    value_id weights = no_value;  // [k, columns]
    value_id bias = no_value;     // one for each column; no_value: none
    value_id out = no_value;
  };
  value_id of = no_value;
  std::vector<member> members;
};

// By the first node of each, and the nodes that are then not computed by themselves.
struct shared_products {
  std::map<const node*, shared_product> begins;
  std::set<const node*> inner;
};
// Of what attention leaves.
shared_products find_shared_products(const lowering& l, const attention_plan& attention);

// Sets each member's result, as columns of one matrix.
void lower_shared_product(lowering& l, const shared_product& s);

}  // namespace mizzen::cuda
