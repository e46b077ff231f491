#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/status.hpp>
#include <mizzen/serving/client.hpp>
#include <mizzen/serving/v2.hpp>

#include <charconv>
#include <optional>
#include <utility>

namespace mizzen::serving {
namespace {

using inference::named_input;
using inference::tensor_map;

// "digits/versions/3" with each part encoded, so that a name may hold anything but a slash.
std::string encode_model(std::string_view model) {
  std::string path;
  for (;;) {
    const auto slash = model.find('/');
    path += http::percent_encode(model.substr(0, slash));
    if (slash == std::string_view::npos) return path;
    path += '/';
    model.remove_prefix(slash + 1);
  }
}

}  // namespace

struct client::impl {
  impl(std::string at, client_options with)
      : url(std::move(at)), binary(with.binary), http(std::move(with.http)) {
    while (url.ends_with('/')) url.pop_back();
  }

  bool answers_200(const std::string& path) {
    const http::response answer = http.get(url + path);
    if (answer.ok()) return true;
    if (answer.status == 503) return false;
    fail("GET " + url + path, answer);
  }

  [[noreturn]] static void fail(const std::string& subject, const http::response& answer) {
    json details = json::parse(answer.body, nullptr, false);
    if (details.is_discarded()) details = nullptr;
    std::string text = "HTTP " + std::to_string(answer.status);
    if (details.is_object() && details.contains("error") && details["error"].is_string()) {
      text += ": " + details["error"].get<std::string>();
    }
    throw error(http::errc_of_status(answer.status), subject, text, std::move(details));
  }

  tensor_map infer(std::string_view model, std::span<const named_input> inputs,
                   infer_options options) {
    v2::encoded body = v2::encode_infer_request(inputs, options.outputs, binary);
    http::request what{.method = "POST",
                       .url = url + "/v2/models/" + encode_model(model) + "/infer",
                       .headers = {},
                       .body = std::move(body.body)};
    what.headers.add("Content-Type", std::string(body.content_type()));
    if (body.json_size) {
      what.headers.add(std::string(v2::json_size_header), std::to_string(*body.json_size));
    }
    const std::string subject = "POST " + what.url;
    const http::response answer = http.send(std::move(what), {.cancel = std::move(options.cancel)});
    if (!answer.ok()) fail(subject, answer);
    return decode(subject, answer);
  }

  static tensor_map decode(const std::string& subject, const http::response& answer) {
    std::optional<std::size_t> json_size;
    if (const std::string* header = answer.headers.find(v2::json_size_header)) {
      json_size.emplace();
      std::from_chars(header->data(), header->data() + header->size(), *json_size);
    }
    try {
      v2::infer_response response = v2::parse_infer_response(answer.body, json_size);
      tensor_map outputs;
      for (v2::named_tensor& each : response.outputs) {
        outputs.emplace(std::move(each.name), std::move(each.value));
      }
      return outputs;
    } catch (const error&) {
      throw error(errc::data_loss, subject, "the answer is not what the protocol says",
                  std::current_exception());
    }
  }

  std::string url;
  bool binary;
  http::blocking_client http;
};

client::client(std::string url, client_options options)
    : impl_(std::make_unique<impl>(std::move(url), std::move(options))) {}
client::client(client&&) noexcept = default;
client& client::operator=(client&&) noexcept = default;
client::~client() = default;

bool client::live() { return impl_->answers_200("/v2/health/live"); }

bool client::ready() { return impl_->answers_200("/v2/health/ready"); }

bool client::model_ready(std::string_view model) {
  return impl_->answers_200("/v2/models/" + encode_model(model) + "/ready");
}

model_metadata client::metadata(std::string_view model) {
  const std::string at = impl_->url + "/v2/models/" + encode_model(model);
  const http::response answer = impl_->http.get(at);
  if (!answer.ok()) impl::fail("GET " + at, answer);
  const json parsed = json::parse(answer.body, nullptr, false);
  if (!parsed.is_object()) throw error(errc::data_loss, "GET " + at, "the answer is not JSON");
  return v2::parse_metadata(parsed);
}

tensor_map client::infer(std::string_view model, std::span<const named_input> inputs,
                         infer_options options) {
  return impl_->infer(model, inputs, std::move(options));
}

tensor_map client::infer(std::string_view model, std::initializer_list<named_input> inputs,
                         infer_options options) {
  return impl_->infer(model, std::span(inputs.begin(), inputs.size()), std::move(options));
}

tensor_map client::infer(std::string_view model, const tensor_map& inputs, infer_options options) {
  std::vector<named_input> list;
  for (const auto& [name, value] : inputs) list.emplace_back(name, value);
  return impl_->infer(model, list, std::move(options));
}

}  // namespace mizzen::serving
