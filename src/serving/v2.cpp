#include "serving/json_reader.hpp"
#include "serving/tensor_codec.hpp"

#include <mizzen/core/checked.hpp>
#include <mizzen/core/error.hpp>
#include <mizzen/serving/v2.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

namespace mizzen::serving::v2 {
namespace {

using namespace detail;
using inference::element_type;
using inference::value_info;

constexpr auto datatypes = std::to_array<std::pair<element_type, std::string_view>>({
    {element_type::boolean, "BOOL"},
    {element_type::uint8, "UINT8"},
    {element_type::uint16, "UINT16"},
    {element_type::uint32, "UINT32"},
    {element_type::uint64, "UINT64"},
    {element_type::int8, "INT8"},
    {element_type::int16, "INT16"},
    {element_type::int32, "INT32"},
    {element_type::int64, "INT64"},
    {element_type::float16, "FP16"},
    {element_type::bfloat16, "BF16"},
    {element_type::float32, "FP32"},
    {element_type::float64, "FP64"},
    {element_type::string, "BYTES"},
});

[[noreturn]] void refuse(const std::string& subject, const std::string& message) {
  throw error(errc::invalid_argument, subject, message);
}

std::string at(std::string_view list, std::size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

std::string in_quotes(std::string_view text) {
  return "'" + std::string(text.substr(0, 128)) + (text.size() > 128 ? "…'" : "'");
}

// A tensor of which the binary data is not cut out yet.
struct tensor_header {
  std::string name;
  std::optional<element_type> type;
  std::optional<inference::shape_type> shape;
  std::optional<std::size_t> binary_size;
  std::optional<std::size_t> data_at;
  std::optional<tensor> value;
};

class message_reader {
 public:
  message_reader(std::string_view body, std::optional<std::size_t> json_size, const limits& within)
      : limits_(within),
        binary_(body.substr(json_part(body, json_size))),
        has_binary_(json_size.has_value()),
        reader_(body.substr(0, json_part(body, json_size)), within.max_depth) {}

  json_reader& reader() { return reader_; }

  std::string name(const std::string& subject) {
    std::string text = reader_.string(subject, limits_.max_name);
    if (text.empty()) refuse(subject, "must not be empty");
    return text;
  }

  std::string id() { return reader_.string("id", limits_.max_name); }

  // A "parameters" object, as a document.
  json parameters(const std::string& subject) {
    if (reader_.peek() != '{') reader_.fail(subject, "expected an object");
    const std::string_view text = reader_.skip(subject);
    if (text.size() > limits_.max_parameters) {
      refuse(subject, "longer than " + std::to_string(limits_.max_parameters) + " bytes");
    }
    json value = json::parse(text, nullptr, false);
    if (value.is_discarded()) refuse(subject, "holds a number that is too large");
    return value;
  }

  std::vector<tensor_header> tensors(std::string_view list) {
    std::vector<tensor_header> found;
    reader_.array(list, [&](std::size_t index) {
      if (index >= limits_.max_tensors) {
        refuse(std::string(list), "more than " + std::to_string(limits_.max_tensors) + " tensors");
      }
      found.push_back(one_tensor(at(list, index)));
      const auto same = std::ranges::find(found, found.back().name, &tensor_header::name);
      if (same != found.end() - 1) {
        refuse(at(list, index) + ".name", in_quotes(found.back().name) + " is there twice");
      }
    });
    return found;
  }

  // Cuts the binary data, which follows the JSON in the order of the tensors.
  std::vector<named_tensor> complete(std::string_view list, std::vector<tensor_header> headers) {
    std::vector<named_tensor> done;
    done.reserve(headers.size());
    for (std::size_t i = 0; i < headers.size(); ++i) {
      tensor_header& header = headers[i];
      if (header.binary_size) {
        const std::string subject = at(list, i) + ".parameters.binary_data_size";
        if (!has_binary_) {
          refuse(subject, "binary data needs the HTTP header " + std::string(json_size_header));
        }
        if (*header.binary_size > binary_.size()) {
          refuse(subject, std::to_string(*header.binary_size) + " bytes are claimed, but only " +
                              std::to_string(binary_.size()) + " are left in the body");
        }
        header.value = read_binary_data(binary_.substr(0, *header.binary_size), *header.type,
                                        std::move(*header.shape), at(list, i) + ".shape");
        binary_.remove_prefix(*header.binary_size);
      }
      done.push_back({std::move(header.name), std::move(*header.value)});
    }
    if (!binary_.empty()) {
      refuse(std::string(list), std::to_string(binary_.size()) +
                                    " bytes of binary data belong to no tensor (see "
                                    "binary_data_size)");
    }
    return done;
  }

 private:
  static std::size_t json_part(std::string_view body, std::optional<std::size_t> json_size) {
    if (!json_size) return body.size();
    if (*json_size > body.size()) {
      refuse(std::string(json_size_header), std::to_string(*json_size) +
                                                " is more than the body's " +
                                                std::to_string(body.size()) + " bytes");
    }
    return *json_size;
  }

  tensor_header one_tensor(const std::string& subject) {
    tensor_header header;
    reader_.object(subject, [&](const std::string& key) {
      if (key == "name") {
        once(header.name.empty(), subject, key);
        header.name = name(subject + ".name");
      } else if (key == "datatype") {
        once(!header.type, subject, key);
        header.type = datatype(subject + ".datatype");
      } else if (key == "shape") {
        once(!header.shape, subject, key);
        header.shape = shape(subject + ".shape");
      } else if (key == "parameters") {
        binary_size_of(header, subject);
      } else if (key == "data") {
        once(!header.data_at && !header.value, subject, key);
        data(header, subject);
      } else {
        reader_.skip(subject + "." + key.substr(0, 64));
      }
    });
    if (header.name.empty()) refuse(subject + ".name", "is missing");
    if (!header.type) refuse(subject + ".datatype", "is missing");
    if (!header.shape) refuse(subject + ".shape", "is missing");
    if (header.data_at) {
      const std::size_t after = reader_.position();
      reader_.seek(*header.data_at);
      data(header, subject);
      reader_.seek(after);
    }
    if (header.binary_size && header.value) {
      refuse(subject + ".data", "there is binary data already (parameters.binary_data_size)");
    }
    if (!header.binary_size && !header.value) refuse(subject + ".data", "is missing");
    return header;
  }

  // The members may come in any order: data that comes before its type waits.
  void data(tensor_header& header, const std::string& subject) {
    if (header.type && header.shape) {
      header.value =
          read_json_data(reader_, *header.type, std::move(*header.shape), subject + ".data");
      header.shape = header.value->shape();
    } else {
      reader_.peek();
      header.data_at = reader_.position();
      reader_.skip(subject + ".data");
    }
  }

  static void once(bool first, const std::string& subject, const std::string& key) {
    if (!first) refuse(subject + "." + key, "is there twice");
  }

  element_type datatype(const std::string& subject) {
    const std::string text = reader_.string(subject, limits_.max_name);
    const auto type = parse_datatype(text);
    if (!type) {
      refuse(subject, in_quotes(text) +
                          " is none of BOOL, UINT8 … UINT64, INT8 … INT64, FP16, BF16, "
                          "FP32, FP64, BYTES");
    }
    return *type;
  }

  inference::shape_type shape(const std::string& subject) {
    inference::shape_type dimensions;
    reader_.array(subject, [&](std::size_t index) {
      if (index >= limits_.max_dimensions) {
        refuse(subject, "more than " + std::to_string(limits_.max_dimensions) + " dimensions");
      }
      const std::string_view text = reader_.number(subject);
      std::int64_t value = 0;
      const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
      if (result.ec != std::errc() || result.ptr != text.data() + text.size() || value < 0) {
        refuse(subject, in_quotes(text) + " is not a dimension: an integer from 0 on");
      }
      dimensions.push_back(value);
    });
    try {
      checked_element_count(dimensions, subject);
    } catch (const error& e) {
      refuse(subject, e.message());
    }
    return dimensions;
  }

  void binary_size_of(tensor_header& header, const std::string& subject) {
    const json value = parameters(subject + ".parameters");
    for (const char* shared : {"shared_memory_region", "shared_memory_byte_size"}) {
      if (value.contains(shared)) {
        refuse(subject + ".parameters." + shared, "shared memory is not supported; send the data");
      }
    }
    const auto size = value.find("binary_data_size");
    if (size == value.end()) return;
    if (!size->is_number_unsigned()) {
      refuse(subject + ".parameters.binary_data_size", "expected a number of bytes");
    }
    header.binary_size = size->get<std::size_t>();
  }

  const limits& limits_;
  std::string_view binary_;
  bool has_binary_;
  json_reader reader_;
};

std::optional<bool> flag(const json& parameters, const char* key, const std::string& subject) {
  const auto found = parameters.find(key);
  if (found == parameters.end()) return std::nullopt;
  if (!found->is_boolean()) refuse(subject + "." + key, "expected true or false");
  return found->get<bool>();
}

std::vector<requested_output> requested_outputs(message_reader& in, const limits& within) {
  std::vector<requested_output> outputs;
  in.reader().array("outputs", [&](std::size_t index) {
    const std::string subject = at("outputs", index);
    if (index >= within.max_tensors) {
      refuse("outputs", "more than " + std::to_string(within.max_tensors));
    }
    requested_output wanted;
    in.reader().object(subject, [&](const std::string& key) {
      if (key == "name") {
        wanted.name = in.name(subject + ".name");
      } else if (key == "parameters") {
        const json parameters = in.parameters(subject + ".parameters");
        for (const char* foreign : {"classification", "shared_memory_region"}) {
          if (parameters.contains(foreign)) {
            refuse(subject + ".parameters." + foreign, "is not supported");
          }
        }
        wanted.binary = flag(parameters, "binary_data", subject + ".parameters");
      } else {
        in.reader().skip(subject + "." + key.substr(0, 64));
      }
    });
    if (wanted.name.empty()) refuse(subject + ".name", "is missing");
    if (std::ranges::find(outputs, wanted.name, &requested_output::name) != outputs.end()) {
      refuse(subject + ".name", in_quotes(wanted.name) + " is there twice");
    }
    outputs.push_back(std::move(wanted));
  });
  return outputs;
}

std::string names_of(const std::vector<value_info>& all) {
  std::string text;
  for (const value_info& each : all) text += (text.empty() ? "'" : ", '") + each.name + "'";
  return text.empty() ? "none" : text;
}

void check_shape(const std::string& subject, const value_info& info, const tensor& value) {
  if (!info.shape) return;
  const auto fail = [&] {
    refuse(subject, "'" + info.name + "' takes " + inference::to_string(info) + ", not " +
                        inference::to_string(value.shape()));
  };
  if (info.shape->size() != value.rank()) fail();
  for (std::size_t i = 0; i < value.rank(); ++i) {
    const inference::dimension& wanted = (*info.shape)[i];
    if (wanted.fixed() && wanted.value != value.shape()[i]) fail();
  }
}

void append_tensor_head(std::string& to, const std::string& name, const tensor& value) {
  to += "{\"name\":";
  append_json_string(to, name);
  to += ",\"datatype\":\"";
  to += datatype_name(value.type());
  to += "\",\"shape\":[";
  for (std::size_t i = 0; i < value.rank(); ++i) {
    if (i > 0) to += ',';
    to += std::to_string(value.shape()[i]);
  }
  to += ']';
}

void append_tensor(std::string& to, const std::string& name, const tensor& value, bool binary,
                   const std::string& subject) {
  append_tensor_head(to, name, value);
  if (binary) {
    to += ",\"parameters\":{\"binary_data_size\":" + std::to_string(binary_size(value)) + "}}";
    return;
  }
  to += ",\"data\":";
  append_json_data(to, value, subject);
  to += '}';
}

}  // namespace

std::string_view datatype_name(element_type type) noexcept {
  for (const auto& [each, name] : datatypes) {
    if (each == type) return name;
  }
  return {};
}

std::optional<element_type> parse_datatype(std::string_view name) noexcept {
  for (const auto& [type, each] : datatypes) {
    if (each == name) return type;
  }
  return std::nullopt;
}

infer_request parse_infer_request(std::string_view body, std::optional<std::size_t> json_size,
                                  const limits& within) {
  message_reader in(body, json_size, within);
  infer_request request;
  std::optional<std::vector<tensor_header>> inputs;
  in.reader().object("", [&](const std::string& key) {
    if (key == "id") {
      request.id = in.id();
    } else if (key == "parameters") {
      request.parameters = in.parameters("parameters");
    } else if (key == "inputs") {
      if (inputs) refuse("inputs", "is there twice");
      inputs = in.tensors("inputs");
    } else if (key == "outputs") {
      request.outputs = requested_outputs(in, within);
    } else {
      in.reader().skip(key.substr(0, 64));
    }
  });
  in.reader().end();
  if (!inputs) refuse("inputs", "is missing");
  request.inputs = in.complete("inputs", std::move(*inputs));
  if (request.parameters.is_object()) {
    request.binary_output =
        flag(request.parameters, "binary_data_output", "parameters").value_or(false);
  }
  return request;
}

void check_against(const infer_request& request, const model_metadata& metadata) {
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    const named_tensor& given = request.inputs[i];
    const auto info = std::ranges::find(metadata.inputs, given.name, &value_info::name);
    if (info == metadata.inputs.end()) {
      refuse(at("inputs", i) + ".name", "the model has no input " + in_quotes(given.name) +
                                            "; it has " + names_of(metadata.inputs));
    }
    if (info->type != given.value.type()) {
      refuse(at("inputs", i) + ".datatype", in_quotes(given.name) + " takes " +
                                                std::string(datatype_name(info->type)) + ", not " +
                                                std::string(datatype_name(given.value.type())));
    }
    check_shape(at("inputs", i) + ".shape", *info, given.value);
  }
  for (const value_info& info : metadata.inputs) {
    if (std::ranges::find(request.inputs, info.name, &named_tensor::name) == request.inputs.end()) {
      refuse("inputs", "the model's input '" + info.name + "' is missing");
    }
  }
  for (std::size_t i = 0; i < request.outputs.size(); ++i) {
    const std::string& name = request.outputs[i].name;
    if (std::ranges::find(metadata.outputs, name, &value_info::name) == metadata.outputs.end()) {
      refuse(at("outputs", i) + ".name", "the model has no output " + in_quotes(name) +
                                             "; it has " + names_of(metadata.outputs));
    }
  }
}

encoded encode_infer_response(const infer_response& response, const infer_request& request) {
  encoded result;
  std::string& to = result.body;
  to += "{\"model_name\":";
  append_json_string(to, response.model_name);
  to += ",\"model_version\":";
  append_json_string(to, response.model_version);
  if (!request.id.empty()) {
    to += ",\"id\":";
    append_json_string(to, request.id);
  }
  to += ",\"outputs\":[";
  std::vector<const tensor*> binaries;
  for (std::size_t i = 0; i < response.outputs.size(); ++i) {
    const named_tensor& output = response.outputs[i];
    const auto wanted = std::ranges::find(request.outputs, output.name, &requested_output::name);
    const bool binary = wanted == request.outputs.end()
                            ? request.binary_output
                            : wanted->binary.value_or(request.binary_output);
    if (i > 0) to += ',';
    append_tensor(to, output.name, output.value, binary, "output '" + output.name + "'");
    if (binary) binaries.push_back(&output.value);
  }
  to += "]}";
  if (!binaries.empty()) {
    result.json_size = to.size();
    std::size_t total = to.size();
    for (const tensor* each : binaries) total += binary_size(*each);
    to.reserve(total);
    for (const tensor* each : binaries) append_binary_data(to, *each);
  }
  return result;
}

encoded encode_infer_request(std::span<const inference::named_input> inputs,
                             std::span<const std::string> outputs, bool binary) {
  encoded result;
  std::string& to = result.body;
  to += "{\"inputs\":[";
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string name(inputs[i].name);
    if (datatype_name(inputs[i].value.type()).empty()) {
      refuse("input '" + name + "'",
             "the protocol has no datatype for " + std::string(to_string(inputs[i].value.type())));
    }
    if (i > 0) to += ',';
    append_tensor(to, name, inputs[i].value, binary, "input '" + name + "'");
  }
  to += ']';
  if (!outputs.empty()) {
    to += ",\"outputs\":[";
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      to += i > 0 ? ",{\"name\":" : "{\"name\":";
      append_json_string(to, outputs[i]);
      to += '}';
    }
    to += ']';
  }
  if (binary) to += ",\"parameters\":{\"binary_data_output\":true}";
  to += '}';
  if (binary) {
    result.json_size = to.size();
    for (const inference::named_input& each : inputs) append_binary_data(to, each.value);
  }
  return result;
}

infer_response parse_infer_response(std::string_view body, std::optional<std::size_t> json_size,
                                    const limits& within) {
  message_reader in(body, json_size, within);
  infer_response response;
  std::optional<std::vector<tensor_header>> outputs;
  in.reader().object("", [&](const std::string& key) {
    if (key == "id") {
      response.id = in.id();
    } else if (key == "model_name") {
      response.model_name = in.reader().string(key, within.max_name);
    } else if (key == "model_version" && in.reader().peek() == '"') {
      response.model_version = in.reader().string(key, within.max_name);
    } else if (key == "outputs") {
      outputs = in.tensors("outputs");
    } else {
      in.reader().skip(key.substr(0, 64));
    }
  });
  in.reader().end();
  if (!outputs) refuse("outputs", "is missing");
  response.outputs = in.complete("outputs", std::move(*outputs));
  return response;
}

json to_json(std::string_view name, const std::vector<std::string>& versions,
             const model_metadata& metadata) {
  const auto tensors = [](const std::vector<value_info>& all) {
    json list = json::array();
    for (const value_info& each : all) {
      json shape = json::array();
      if (!each.shape) shape.push_back(-1);
      for (const inference::dimension& d :
           each.shape.value_or(std::vector<inference::dimension>{})) {
        shape.push_back(d.value);
      }
      list.push_back(
          {{"name", each.name}, {"datatype", datatype_name(each.type)}, {"shape", shape}});
    }
    return list;
  };
  return {{"name", name},
          {"versions", versions},
          {"platform", metadata.platform},
          {"inputs", tensors(metadata.inputs)},
          {"outputs", tensors(metadata.outputs)}};
}

model_metadata parse_metadata(const json& answer) {
  const auto tensors = [&](const char* list) {
    std::vector<value_info> all;
    for (const json& each : answer.at(list)) {
      value_info info{.name = each.at("name").get<std::string>(), .type = {}, .shape = {}};
      info.type =
          parse_datatype(each.at("datatype").get<std::string>()).value_or(element_type::undefined);
      info.shape.emplace();
      for (const json& d : each.at("shape")) info.shape->emplace_back(d.get<std::int64_t>());
      all.push_back(std::move(info));
    }
    return all;
  };
  try {
    return {.platform = answer.value("platform", ""),
            .inputs = tensors("inputs"),
            .outputs = tensors("outputs")};
  } catch (const json::exception& e) {
    throw error(errc::data_loss, "model metadata", e.what());
  }
}

}  // namespace mizzen::serving::v2
