// What an MLflow server refuses, and why.
#pragma once

#include <mizzen/core/error.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace mizzen::tracking {

// An error that a tracking server answered with, in MLflow's words. code() is the nearest errc, the
// subject names the request ("POST http://host/api/2.0/mlflow/runs/create"), the message is the
// server's, and details() is its answer, whole. An answer that is not MLflow's (an HTML page of a
// proxy, say) is a plain error instead.
class mlflow_error : public error {
 public:
  // answer: a JSON object with MLflow's error_code and message.
  mlflow_error(std::string_view request, int http_status, const json& answer);

  // "RESOURCE_DOES_NOT_EXIST" … (ErrorCode of mlflow/protos/databricks.proto).
  const std::string& error_code() const noexcept { return *error_code_; }
  int http_status() const noexcept { return http_status_; }

 private:
  std::shared_ptr<const std::string> error_code_;
  int http_status_;
};

// The errc for an error code of MLflow, or for the HTTP status where the code says nothing.
errc errc_of_mlflow(std::string_view error_code, int http_status) noexcept;

}  // namespace mizzen::tracking
