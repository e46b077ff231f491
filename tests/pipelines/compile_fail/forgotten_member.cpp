// A member that the description leaves out would be lost on its way to the step.
#include "steps.hpp"

struct careless_io {
  mz::in<std::string> text = "x";
  int n = 0;
};
#ifdef WRONG
BOOST_DESCRIBE_STRUCT(careless_io, (), (text))
#else
BOOST_DESCRIBE_STRUCT(careless_io, (), (text, n))
#endif
void careless(careless_io&) {}

void build(mz::pipeline_builder& p) { p.add(careless, {.n = 1}); }
