// A condition is decided when the pipeline runs, not while it is built.
#include "steps.hpp"

void build(mz::pipeline_builder& p) {
  auto made = p.add(make, {});
#ifdef WRONG
  if (made->count > 3) p.add(make, {});
#else
  p.when(made->count > 3, [&] { p.add(make, {}); });
#endif
}
