// A plain member cannot wait for a value.
#include "steps.hpp"

void build(mz::pipeline_builder& p) {
#ifdef WRONG
  p.add(use, {.plain = p.parameter<int>("n")});
#else
  p.add(use, {.count = p.parameter<int>("n"), .plain = 3});
#endif
}
