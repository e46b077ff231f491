// A client of the Open Inference Protocol: of Mizzen's own server, KServe, Triton or MLServer.
#pragma once

#include <mizzen/http/client.hpp>
#include <mizzen/inference/session.hpp>
#include <mizzen/serving/model.hpp>

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::serving {

struct client_options {
  http::client_options http = {};
  // Tensors travel in the binary extension: exact, and several times faster than JSON. False for
  // servers that do not list "binary_tensor_data" in GET /v2.
  bool binary = true;
};

struct infer_options {
  // Names of the outputs that are wanted; empty: all.
  std::vector<std::string> outputs = {};
  mizzen::cancellation cancel = {};
};

// Calls a model on a server as inference::session runs it in the process:
//
//   mz::serving::client client(server.url());
//   auto outputs = client.infer("digits", {{"pixels", mz::tensor::copy(pixels, {1, 64})}});
//   auto scores = outputs.at("scores").data<float>();
//
// Blocking; thread safe, but one request at a time, as http::blocking_client. Errors as there, and
// an error answer of the server is error with the code that its status means (not_found for 404 …)
// and the server's words. model: "name", or "name/versions/3".
class client {
 public:
  // url: "http://host:port", without /v2.
  explicit client(std::string url, client_options options = {});
  client(client&&) noexcept;
  client& operator=(client&&) noexcept;
  ~client();

  bool live();
  bool ready();
  bool model_ready(std::string_view model);
  model_metadata metadata(std::string_view model);

  inference::tensor_map infer(std::string_view model,
                              std::span<const inference::named_input> inputs,
                              infer_options options = {});
  inference::tensor_map infer(std::string_view model,
                              std::initializer_list<inference::named_input> inputs,
                              infer_options options = {});
  inference::tensor_map infer(std::string_view model, const inference::tensor_map& inputs,
                              infer_options options = {});

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace mizzen::serving
