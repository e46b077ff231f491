// Operators on sequences and optionals.
#include "inference/dynamic/elements.hpp"
#include "inference/dynamic/operations.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace mizzen::inference::detail {
namespace {

// An operator that a function computes from the context and the node's attributes.
class simple_operation final : public operation {
 public:
  using function = item (*)(const operation_context&, const attribute_map&);
  simple_operation(function f, attribute_map attributes)
      : function_(f), attributes_(std::move(attributes)) {}
  void run(const operation_context& c, std::span<item> outputs) const override {
    outputs[0] = function_(c, attributes_);
  }

 private:
  function function_;
  attribute_map attributes_;
};

template <simple_operation::function f>
std::unique_ptr<operation> compile_simple(const operation_compile_context& c) {
  return std::make_unique<simple_operation>(f, c.about.n.attributes);
}

shared_sequence share(std::vector<shared_tensor> list) {
  return std::make_shared<const std::vector<shared_tensor>>(std::move(list));
}

// A position in [0, size), counted from the end where negative; with end, size itself too.
std::size_t position(const tensor& t, std::size_t size, bool end) {
  const std::int64_t given = only_integer(t, "position");
  const auto n = static_cast<std::int64_t>(size);
  if (given < -n || given > n || (given == n && !end)) {
    throw error(errc::invalid_argument, "position",
                std::to_string(given) + " is outside a sequence of " + std::to_string(n));
  }
  return static_cast<std::size_t>(given < 0 ? given + n : given);
}

item construct(const operation_context& c, const attribute_map&) {
  std::vector<shared_tensor> list;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    c.one(i);
    list.push_back(c.inputs[i].one);
  }
  return share(std::move(list));
}

item empty(const operation_context&, const attribute_map&) { return share({}); }

item at(const operation_context& c, const attribute_map&) {
  const auto& list = c.many(0);
  return list[position(c.one(1), list.size(), false)];
}

item insert(const operation_context& c, const attribute_map&) {
  std::vector<shared_tensor> list = c.many(0);
  const tensor* where = c.optional_one(2);
  const std::size_t i = where != nullptr ? position(*where, list.size(), true) : list.size();
  c.one(1);
  list.insert(list.begin() + static_cast<std::ptrdiff_t>(i), c.inputs[1].one);
  return share(std::move(list));
}

item erase(const operation_context& c, const attribute_map&) {
  std::vector<shared_tensor> list = c.many(0);
  const tensor* where = c.optional_one(1);
  if (list.empty()) throw error(errc::invalid_argument, "sequence", "it is empty");
  const std::size_t i = where != nullptr ? position(*where, list.size(), false) : list.size() - 1;
  list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
  return share(std::move(list));
}

item length(const operation_context& c, const attribute_map&) {
  auto out = c.state.make(element_type::int64, {});
  out->data<std::int64_t>()[0] = static_cast<std::int64_t>(c.many(0).size());
  return shared_tensor(std::move(out));
}

item split(const operation_context& c, const attribute_map& attributes) {
  const tensor& x = c.one(0);
  const std::size_t axis = checked_axis(attributes.get_int("axis", 0), x.rank());
  const tensor* sizes = c.optional_one(1);
  const std::int64_t whole = x.shape()[axis];
  // One by one unless sizes say otherwise; only then may the axis go.
  const bool drop = sizes == nullptr && attributes.get_int("keepdims", 1) == 0;
  const bool listed = sizes != nullptr && sizes->rank() == 1;
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; listed && i < sizes->size(); ++i) {
    lengths.push_back(integer_at(*sizes, i));
  }
  const std::int64_t each = sizes == nullptr || listed ? 1 : only_integer(*sizes, "split");
  if (each < 1) throw error(errc::invalid_argument, "split", "it must be at least 1");
  std::vector<shared_tensor> list;
  std::int64_t first = 0;
  for (std::size_t i = 0; listed ? i < lengths.size() : first < whole; ++i) {
    const std::int64_t count = listed ? lengths[i] : std::min(each, whole - first);
    if (count < 0 || count > whole - first) {
      throw error(errc::invalid_argument, "split", "its sizes do not fit the dimension");
    }
    c.state.cancel.check("run of the model");
    list.push_back(take_slice(x, axis, first, count, drop, c.state));
    first += count;
  }
  if (first != whole) {
    throw error(errc::invalid_argument, "split", "its sizes do not add up to the dimension");
  }
  return share(std::move(list));
}

item concat(const operation_context& c, const attribute_map& attributes) {
  const auto& list = c.many(0);
  if (list.empty()) throw error(errc::invalid_argument, "sequence", "it is empty");
  const bool stack = attributes.get_int("new_axis", 0) != 0;
  const std::size_t axis =
      checked_axis(attributes.require_int("axis"), list[0]->rank() + (stack ? 1 : 0));
  return join(list, axis, stack, c.state);
}

// An optional that has its element is that element.
item hand_on(const operation_context& c, const attribute_map&) {
  return c.inputs.empty() ? item() : c.inputs[0];
}

item get_element(const operation_context& c, const attribute_map&) {
  if (c.inputs[0].empty()) throw error(errc::invalid_argument, "optional", "it has no element");
  return c.inputs[0];
}

item has_element(const operation_context& c, const attribute_map&) {
  auto out = c.state.make(element_type::boolean, {});
  out->data<bool>()[0] = !c.inputs.empty() && !c.inputs[0].empty();
  return shared_tensor(std::move(out));
}

}  // namespace

void add_sequence_operations(operation_table& table) {
  table["SequenceConstruct"] = compile_simple<construct>;
  table["SequenceEmpty"] = compile_simple<empty>;
  table["SequenceAt"] = compile_simple<at>;
  table["SequenceInsert"] = compile_simple<insert>;
  table["SequenceErase"] = compile_simple<erase>;
  table["SequenceLength"] = compile_simple<length>;
  table["SplitToSequence"] = compile_simple<split>;
  table["ConcatFromSequence"] = compile_simple<concat>;
  table["Optional"] = compile_simple<hand_on>;
  table["Identity"] = compile_simple<hand_on>;
  table["OptionalGetElement"] = compile_simple<get_element>;
  table["OptionalHasElement"] = compile_simple<has_element>;
}

}  // namespace mizzen::inference::detail
