#include "bindings.hpp"

#include <mizzen/core/error.hpp>

#include <pybind11/stl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::python {
namespace {

using inference::element_type;

// Types that NumPy knows only through ml_dtypes, by the names that it gives them. There, those of
// fewer than 8 bits have a byte for each element.
struct extended_type {
  element_type type;
  std::string_view name;
};
constexpr extended_type extended_types[] = {
    {element_type::bfloat16, "bfloat16"},
    {element_type::float8_e4m3fn, "float8_e4m3fn"},
    {element_type::float8_e4m3fnuz, "float8_e4m3fnuz"},
    {element_type::float8_e5m2, "float8_e5m2"},
    {element_type::float8_e5m2fnuz, "float8_e5m2fnuz"},
    {element_type::float8_e8m0, "float8_e8m0fnu"},
    {element_type::float4_e2m1, "float4_e2m1fn"},
    {element_type::int4, "int4"},
    {element_type::uint4, "uint4"},
    {element_type::int2, "int2"},
    {element_type::uint2, "uint2"},
};

bool is_signed(element_type type) {
  return type == element_type::int4 || type == element_type::int2;
}

// The first element lies in the lowest bits of a byte.
void pack(std::span<const std::uint8_t> from, element_type type, std::span<std::byte> to) {
  const std::size_t bits = bit_width(type);
  const std::size_t each = 8 / bits;
  const unsigned mask = (1U << bits) - 1;
  std::fill(to.begin(), to.end(), std::byte{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    to[i / each] |= static_cast<std::byte>((from[i] & mask) << (i % each * bits));
  }
}

void unpack(std::span<const std::byte> from, element_type type, std::span<std::uint8_t> to) {
  const std::size_t bits = bit_width(type);
  const std::size_t each = 8 / bits;
  const unsigned mask = (1U << bits) - 1;
  const unsigned sign = is_signed(type) ? 1U << (bits - 1) : 0;
  for (std::size_t i = 0; i < to.size(); ++i) {
    const unsigned value = (std::to_integer<unsigned>(from[i / each]) >> (i % each * bits)) & mask;
    to[i] = static_cast<std::uint8_t>((value ^ sign) - sign);
  }
}

std::optional<element_type> type_of(const py::dtype& dtype) {
  const auto name = py::str(dtype.attr("name")).cast<std::string>();
  for (const auto& extended : extended_types) {
    if (name == extended.name) return extended.type;
  }
  const auto bytes = dtype.itemsize();
  switch (dtype.kind()) {
    case 'f':
      if (bytes == 2) return element_type::float16;
      if (bytes == 4) return element_type::float32;
      if (bytes == 8) return element_type::float64;
      return std::nullopt;
    case 'i':
      if (bytes == 1) return element_type::int8;
      if (bytes == 2) return element_type::int16;
      if (bytes == 4) return element_type::int32;
      if (bytes == 8) return element_type::int64;
      return std::nullopt;
    case 'u':
      if (bytes == 1) return element_type::uint8;
      if (bytes == 2) return element_type::uint16;
      if (bytes == 4) return element_type::uint32;
      if (bytes == 8) return element_type::uint64;
      return std::nullopt;
    case 'c':
      if (bytes == 8) return element_type::complex64;
      if (bytes == 16) return element_type::complex128;
      return std::nullopt;
    case 'b':
      return element_type::boolean;
    case 'U':
    case 'S':
    case 'O':
    case 'T':
      return element_type::string;
    default:
      return std::nullopt;
  }
}

py::dtype dtype_of(element_type type, std::string_view subject) {
  const std::string name(to_string(type));
  for (const auto& extended : extended_types) {
    if (type != extended.type) continue;
    try {
      return py::dtype::from_args(
          py::module_::import("ml_dtypes").attr(std::string(extended.name).c_str()));
    } catch (const py::error_already_set&) {
      throw error(errc::unimplemented, subject,
                  "NumPy has no " + name + "; pip install ml_dtypes gives it one");
    }
  }
  if (type == element_type::string) return py::dtype("O");
  if (type == element_type::undefined) {
    throw error(errc::unimplemented, subject,
                name + " has no NumPy type; add a Cast to the model's edge");
  }
  return py::dtype(name);
}

inference::shape_type shape_of(const py::array& array) {
  return {array.shape(), array.shape() + array.ndim()};
}

// The text of one element: str as UTF-8 (what came from undecodable bytes goes back to them), bytes
// as they are.
std::string element_text(const py::handle& element, std::size_t index, std::string_view subject) {
  if (PyBytes_Check(element.ptr())) return element.cast<py::bytes>();
  if (!PyUnicode_Check(element.ptr())) {
    throw error(errc::invalid_argument, subject,
                "element " + std::to_string(index) + " is a " + Py_TYPE(element.ptr())->tp_name +
                    ", not str or bytes");
  }
  const auto encoded = py::reinterpret_steal<py::bytes>(
      PyUnicode_AsEncodedString(element.ptr(), "utf-8", "surrogateescape"));
  if (!encoded) throw py::error_already_set();
  return encoded;
}

}  // namespace

input_tensor to_tensor(const py::handle& object, element_type expected, std::string_view subject) {
  const auto numpy = py::module_::import("numpy");
  py::array array;
  if (py::isinstance<py::array>(object)) {
    array = py::reinterpret_borrow<py::array>(object);
  } else if (py::hasattr(object, "__array__")) {
    array = numpy.attr("asarray")(object);
  } else if (py::hasattr(object, "__dlpack__")) {
    array = numpy.attr("from_dlpack")(object);
  } else {
    // Lists and numbers have no width of their own: they take the model's.
    array = numpy.attr("asarray")(object, dtype_of(expected, subject));
  }

  const auto type = type_of(array.dtype());
  if (!type) {
    throw error(errc::invalid_argument, subject,
                "a tensor cannot hold " + py::str(array.dtype()).cast<std::string>());
  }
  if (*type == element_type::string) {
    input_tensor result{tensor(element_type::string, shape_of(array)), py::array()};
    const auto values = result.value.data<std::string>();
    std::size_t index = 0;
    for (const auto element : array.attr("ravel")().attr("tolist")()) {
      values[index] = element_text(element, index, subject);
      ++index;
    }
    return result;
  }

  if (array.dtype().byteorder() == '>') {
    array = array.attr("astype")(array.dtype().attr("newbyteorder")("="));
  }
  constexpr int wanted = static_cast<int>(py::array::c_style) |
                         static_cast<int>(py::detail::npy_api::NPY_ARRAY_ALIGNED_);
  if ((array.flags() & wanted) != wanted) array = array.attr("copy")("C");
  const std::span<const std::byte> bytes(static_cast<const std::byte*>(array.data()),
                                         static_cast<std::size_t>(array.nbytes()));
  auto shape = shape_of(array);
  if (bit_width(*type) < 8) {
    input_tensor result{tensor(*type, std::move(shape)), py::array()};
    pack({static_cast<const std::uint8_t*>(array.data()), bytes.size()}, *type,
         result.value.mutable_bytes());
    return result;
  }
  return {tensor::view(*type, bytes, std::move(shape)), std::move(array)};
}

tensor to_target(const py::handle& object, std::string_view subject) {
  const auto refuse = [&](const std::string& why) {
    throw error(errc::invalid_argument, subject, why);
  };
  if (!py::isinstance<py::array>(object))
    refuse("a run writes into NumPy arrays only, or on a GPU into tensors that are there");
  auto array = py::reinterpret_borrow<py::array>(object);
  const auto type = type_of(array.dtype());
  if (!type || *type == element_type::string || bit_width(*type) < 8) {
    refuse("a run cannot write into an array of " + py::str(array.dtype()).cast<std::string>());
  }
  constexpr int wanted = static_cast<int>(py::array::c_style) |
                         static_cast<int>(py::detail::npy_api::NPY_ARRAY_ALIGNED_);
  if ((array.flags() & wanted) != wanted)
    refuse("the array must be contiguous (C order) and aligned");
  if (array.dtype().byteorder() == '>') refuse("the array must be in the machine's byte order");
  if (!array.writeable()) refuse("the array is read-only");
  return tensor::view(*type,
                      std::span<std::byte>(static_cast<std::byte*>(array.mutable_data()),
                                           static_cast<std::size_t>(array.nbytes())),
                      shape_of(array));
}

py::object to_array(tensor value, std::string_view subject) {
  const auto dtype = dtype_of(value.type(), subject);
  if (value.type() == element_type::string) {
    const auto texts = std::as_const(value).data<std::string>();
    py::list flat(texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      auto text = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
          texts[i].data(), static_cast<Py_ssize_t>(texts[i].size()), "surrogateescape"));
      if (!text) throw py::error_already_set();
      flat[i] = std::move(text);
    }
    const auto array = py::module_::import("numpy").attr("empty")(texts.size(), dtype);
    array[py::slice(py::none(), py::none(), py::none())] = flat;
    return array.attr("reshape")(py::cast(value.shape()));
  }

  if (bit_width(value.type()) < 8) {
    py::array array(dtype, value.shape());
    unpack(std::as_const(value).bytes(), value.type(),
           {static_cast<std::uint8_t*>(array.mutable_data()), value.size()});
    return array;
  }

  const auto shape = value.shape();
  const bool read_only = value.read_only();
  auto owner = std::make_unique<tensor>(std::move(value));
  const auto bytes = std::as_const(*owner).bytes();
  const py::capsule keep(owner.get(), [](void* held) { delete static_cast<tensor*>(held); });
  owner.release();
  py::array array(dtype, shape, bytes.data(), keep);
  if (read_only) array.attr("flags").attr("writeable") = false;
  return array;
}

}  // namespace mizzen::python
