// A client of the Open Inference Protocol: of Mizzen's own server, KServe, Triton or MLServer.
#pragma once

#include <mizzen/http/client.hpp>
#include <mizzen/serving/model.hpp>
#include <mizzen/serving/v2.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::serving {

struct client_options {
  http::client_options http = {};
  // Tensors travel in the binary extension: exact and several times faster than JSON. False for
  // servers that do not list "binary_tensor_data" in GET /v2.
  bool binary = true;
};

// Blocking; thread safe, but one request at a time, as http::blocking_client. Errors as there, and
// an error answer of the server is error with the code that its status means (not_found for 404 …)
// and the server's words.
//
//   mz::serving::client client{server.url()};
//   auto outputs = client.infer("digits", {mz::serving::tensor::of<float>("x", {1, 64}, pixels)});
class client {
 public:
  // url: "http://host:port", without /v2.
  explicit client(std::string url, client_options options = {});
  client(client&&) noexcept;
  client& operator=(client&&) noexcept;
  ~client();

  bool live();
  bool ready();
  // model: "name", or "name/versions/3".
  bool model_ready(std::string_view model);
  model_metadata metadata(std::string_view model);

  // Outputs in the server's order; all of them unless some are named.
  std::vector<tensor> infer(std::string_view model, std::vector<tensor> inputs,
                            std::vector<std::string> outputs = {}, http::send_options options = {});

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace mizzen::serving
