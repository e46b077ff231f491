// An artifact without a direction.
#include "steps.hpp"

struct bare_io {
#ifdef WRONG
  mz::dataset data;
#else
  mz::out<mz::dataset> data;
#endif
};
BOOST_DESCRIBE_STRUCT(bare_io, (), (data))
void bare(bare_io&) {}

void build(mz::pipeline_builder& p) { p.add(bare, {}); }
