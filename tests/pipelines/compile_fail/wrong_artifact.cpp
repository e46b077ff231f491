// An output artifact feeds an input of another type.
#include "steps.hpp"

void build(mz::pipeline_builder& p) {
  auto made = p.add(make, {});
#ifdef WRONG
  p.add(use, {.model = made->data});
#else
  p.add(use, {.data = made->data});
#endif
}
