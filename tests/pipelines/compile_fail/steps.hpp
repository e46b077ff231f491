#include <mizzen/pipelines.hpp>

namespace mz = mizzen;

struct make_io {
  mz::out<mz::dataset> data;
  mz::out<int> count;
};
BOOST_DESCRIBE_STRUCT(make_io, (), (data, count))
inline void make(make_io&) {}

struct use_io {
  mz::in<mz::dataset> data;
  mz::in<mz::model> model;
  mz::in<int> count = 0;
  mz::in<double> rate = 0.0;
  int plain = 0;
};
BOOST_DESCRIBE_STRUCT(use_io, (), (data, model, count, rate, plain))
inline void use(use_io&) {}
