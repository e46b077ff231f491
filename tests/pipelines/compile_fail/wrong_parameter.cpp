// An output parameter feeds an input of another type.
#include "steps.hpp"

void build(mz::pipeline_builder& p) {
  auto made = p.add(make, {});
#ifdef WRONG
  p.add(use, {.rate = made->count});
#else
  p.add(use, {.count = made->count});
#endif
}
