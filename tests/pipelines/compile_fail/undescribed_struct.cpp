// A step over a struct that Boost.Describe does not know.
#include "steps.hpp"

struct secret_io {
  int n = 0;
};
#ifndef WRONG
BOOST_DESCRIBE_STRUCT(secret_io, (), (n))
#endif
void secret(secret_io&) {}

void build(mz::pipeline_builder& p) { p.add(secret, {.n = 1}); }
