#include "inference/onnx/model.hpp"

#include "inference/onnx/wire.hpp"

namespace mizzen::inference::detail {
namespace {

// A file of empty messages would grow a hundredfold in memory: real models stay far below these.
constexpr std::size_t max_messages = std::size_t{1} << 22;
constexpr int max_graph_depth = 8;

// Parses the messages; one object per model keeps the count of its parts.
class parser {
 public:
  model_proto model(std::span<const std::byte> bytes) {
    const field_path path{nullptr, "model"};
    model_proto out;
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          out.ir_version = in.int64("ir_version");
          break;
        case 2:
          out.producer_name = in.string("producer_name");
          break;
        case 3:
          out.producer_version = in.string("producer_version");
          break;
        case 7:
          if (out.graph) in.fail("graph", "it is there twice");
          out.graph = graph(in.bytes("graph"), {&path, "graph"}, 0);
          break;
        case 8:
          out.opsets.push_back(
              opset(in.bytes("opset_import"),
                    {&path, "opset_import", static_cast<std::ptrdiff_t>(out.opsets.size())}));
          break;
        case 14:
          out.metadata.push_back(
              entry(in.bytes("metadata_props"),
                    {&path, "metadata_props", static_cast<std::ptrdiff_t>(out.metadata.size())}));
          break;
        case 25:
          append(out.functions, in, path, "functions",
                 [this](auto b, const field_path& p) { return function(b, p); });
          break;
        default:
          in.skip();
      }
    }
    if (!out.graph) {
      throw error(errc::invalid_argument, "model.graph", "it is missing: not an ONNX model");
    }
    return out;
  }

 private:
  void count(const field_path& path) {
    if (++messages_ > max_messages) {
      throw error(errc::resource_exhausted, path.text(),
                  "the model has more than " + std::to_string(max_messages) + " parts");
    }
  }

  // Appends to a list, with the path of the new element.
  template <class T, class Parse>
  void append(std::vector<T>& list, wire_reader& in, const field_path& parent,
              std::string_view name, Parse parse) {
    const field_path path{&parent, name, static_cast<std::ptrdiff_t>(list.size())};
    list.push_back(parse(in.bytes(name), path));
  }

  void append_string(std::vector<std::string_view>& list, wire_reader& in, const field_path& path,
                     std::string_view name) {
    count(path);
    list.push_back(in.string(name));
  }

  std::pair<std::string_view, std::int64_t> opset(std::span<const std::byte> bytes,
                                                  const field_path& path) {
    count(path);
    std::pair<std::string_view, std::int64_t> out;
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          out.first = in.string("domain");
          break;
        case 2:
          out.second = in.int64("version");
          break;
        default:
          in.skip();
      }
    }
    return out;
  }

  std::pair<std::string_view, std::string_view> entry(std::span<const std::byte> bytes,
                                                      const field_path& path) {
    count(path);
    std::pair<std::string_view, std::string_view> out;
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          out.first = in.string("key");
          break;
        case 2:
          out.second = in.string("value");
          break;
        default:
          in.skip();
      }
    }
    return out;
  }

  graph_proto graph(std::span<const std::byte> bytes, const field_path& path, int depth) {
    count(path);
    if (depth > max_graph_depth) {
      throw error(errc::resource_exhausted, path.text(), "subgraphs are nested too deeply");
    }
    graph_proto out;
    const auto value_info = [this](auto b, const field_path& p) { return value(b, p); };
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          append(out.nodes, in, path, "node",
                 [&](auto b, const field_path& p) { return node(b, p, depth); });
          break;
        case 2:
          out.name = in.string("name");
          break;
        case 5:
          append(out.initializers, in, path, "initializer",
                 [this](auto b, const field_path& p) { return tensor(b, p); });
          break;
        case 11:
          append(out.inputs, in, path, "input", value_info);
          break;
        case 12:
          append(out.outputs, in, path, "output", value_info);
          break;
        case 15:
          ++out.sparse_initializers;
          in.skip();
          break;
        default:
          in.skip();
      }
    }
    return out;
  }

  function_proto function(std::span<const std::byte> bytes, const field_path& path) {
    count(path);
    function_proto out;
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          out.name = in.string("name");
          break;
        case 4:
          append_string(out.inputs, in, path, "input");
          break;
        case 5:
          append_string(out.outputs, in, path, "output");
          break;
        case 6:
          append_string(out.attributes, in, path, "attribute");
          break;
        case 7:
          append(out.nodes, in, path, "node",
                 [this](auto b, const field_path& p) { return node(b, p, 0); });
          break;
        case 9:
          append(out.opsets, in, path, "opset_import",
                 [this](auto b, const field_path& p) { return opset(b, p); });
          break;
        case 10:
          out.domain = in.string("domain");
          break;
        case 11:
          append(out.with_default, in, path, "attribute_proto",
                 [this](auto b, const field_path& p) { return attribute(b, p, 0); });
          break;
        case 13:
          out.overload = in.string("overload");
          break;
        default:
          in.skip();
      }
    }
    return out;
  }

  node_proto node(std::span<const std::byte> bytes, const field_path& path, int depth) {
    count(path);
    node_proto out;
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          append_string(out.inputs, in, path, "input");
          break;
        case 2:
          append_string(out.outputs, in, path, "output");
          break;
        case 3:
          out.name = in.string("name");
          break;
        case 4:
          out.op_type = in.string("op_type");
          break;
        case 5:
          append(out.attributes, in, path, "attribute",
                 [&](auto b, const field_path& p) { return attribute(b, p, depth); });
          break;
        case 7:
          out.domain = in.string("domain");
          break;
        case 8:
          out.overload = in.string("overload");
          break;
        default:
          in.skip();
      }
    }
    return out;
  }

  attribute_proto attribute(std::span<const std::byte> bytes, const field_path& path, int depth) {
    count(path);
    attribute_proto out;
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          out.name = in.string("name");
          break;
        case 2:
          out.f = in.float32("f");
          break;
        case 3:
          out.i = in.int64("i");
          break;
        case 4:
          out.s = in.string("s");
          break;
        case 5:
          out.t = tensor(in.bytes("t"), {&path, "t"});
          break;
        case 6:
          out.g =
              std::make_shared<const graph_proto>(graph(in.bytes("g"), {&path, "g"}, depth + 1));
          break;
        case 7:
          in.append(out.floats, "floats");
          break;
        case 8:
          in.append(out.ints, "ints");
          break;
        case 9:
          append_string(out.strings, in, path, "strings");
          break;
        case 14:
          out.tp.emplace();
          out.tp->kind = type(in.bytes("tp"), {&path, "tp"}, *out.tp, 0);
          break;
        case 20:
          out.type = in.int32("type");
          break;
        case 21:
          out.ref_attr_name = in.string("ref_attr_name");
          break;
        default:
          in.skip();
      }
    }
    return out;
  }

  tensor_proto tensor(std::span<const std::byte> bytes, const field_path& path) {
    count(path);
    tensor_proto out;
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          in.append(out.dims, "dims");
          break;
        case 2:
          out.data_type = in.int32("data_type");
          break;
        case 3:
          out.segmented = true;
          in.skip();
          break;
        case 4:
          in.append(out.float_data, "float_data");
          break;
        case 5:
          in.append(out.int32_data, "int32_data");
          break;
        case 6:
          append_string(out.string_data, in, path, "string_data");
          break;
        case 7:
          in.append(out.int64_data, "int64_data");
          break;
        case 8:
          out.name = in.string("name");
          break;
        case 9:
          out.raw_data = in.bytes("raw_data");
          break;
        case 10:
          in.append(out.double_data, "double_data");
          break;
        case 11:
          in.append(out.uint64_data, "uint64_data");
          break;
        case 13:
          append(out.external_data, in, path, "external_data",
                 [this](auto b, const field_path& p) { return entry(b, p); });
          break;
        case 14:
          out.external = in.int64("data_location") == 1;
          break;
        default:
          in.skip();
      }
    }
    return out;
  }

  value_info_proto value(std::span<const std::byte> bytes, const field_path& path) {
    count(path);
    value_info_proto out;
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          out.name = in.string("name");
          break;
        case 2:
          out.kind = type(in.bytes("type"), {&path, "type"}, out, 0);
          break;
        default:
          in.skip();
      }
    }
    return out;
  }

  // The kind of a type; depth counts the types around it.
  std::optional<value_kind> type(std::span<const std::byte> bytes, const field_path& path,
                                 value_info_proto& out, int depth) {
    std::optional<value_kind> kind;
    // The one field of a sequence's or optional's type.
    const auto element = [&](std::span<const std::byte> inner, const field_path& at) {
      std::optional<value_kind> found;
      for (wire_reader in(inner, at); in.next();) {
        if (in.field() == 1 && depth < 2) {
          found = type(in.bytes("elem_type"), {&at, "elem_type"}, out, depth + 1);
        } else {
          in.skip();
        }
      }
      return found;
    };
    for (wire_reader in(bytes, path); in.next();) {
      if (in.field() == 1) {
        tensor_type(in.bytes("tensor_type"), {&path, "tensor_type"}, out);
        kind = value_kind::tensor;
      } else if (in.field() == 4) {
        const auto of = element(in.bytes("sequence_type"), {&path, "sequence_type"});
        kind = of == value_kind::tensor ? std::optional(value_kind::sequence) : std::nullopt;
      } else if (in.field() == 9) {
        const auto of = element(in.bytes("optional_type"), {&path, "optional_type"});
        kind = of == value_kind::tensor     ? std::optional(value_kind::optional_tensor)
               : of == value_kind::sequence ? std::optional(value_kind::optional_sequence)
                                            : std::nullopt;
      } else {
        in.skip();
      }
    }
    return kind;
  }

  void tensor_type(std::span<const std::byte> bytes, const field_path& path,
                   value_info_proto& out) {
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          out.elem_type = in.int32("elem_type");
          break;
        case 2:
          out.shape = shape(in.bytes("shape"), {&path, "shape"});
          break;
        default:
          in.skip();
      }
    }
  }

  std::vector<dimension_proto> shape(std::span<const std::byte> bytes, const field_path& path) {
    std::vector<dimension_proto> out;
    for (wire_reader in(bytes, path); in.next();) {
      if (in.field() == 1) {
        append(out, in, path, "dim", [this](auto b, const field_path& p) { return dim(b, p); });
      } else {
        in.skip();
      }
    }
    return out;
  }

  dimension_proto dim(std::span<const std::byte> bytes, const field_path& path) {
    count(path);
    dimension_proto out;
    for (wire_reader in(bytes, path); in.next();) {
      switch (in.field()) {
        case 1:
          out.value = in.int64("dim_value");
          break;
        case 2:
          out.param = in.string("dim_param");
          break;
        default:
          in.skip();
      }
    }
    return out;
  }

  std::size_t messages_ = 0;
};

}  // namespace

model_proto parse_model(std::span<const std::byte> bytes) { return parser().model(bytes); }

}  // namespace mizzen::inference::detail
