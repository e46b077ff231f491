// Where an object store is and who calls it: the environment as MLflow and AWS's own clients read
// it.
#pragma once

#include "tracking/aws_roles.hpp"
#include "tracking/aws_signature.hpp"
#include "tracking/rest_settings.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// "s3://bucket/prefix", the prefix without the slash that begins it. Throws
// error(invalid_argument).
struct s3_location {
  std::string bucket = {};
  std::string prefix = {};
};
s3_location parse_s3_location(std::string_view location);

struct s3_settings {
  rest_settings connection = {};  // url: of the service, without a slash at the end
  std::string region = {};
  // Who signs; with neither, nothing is signed.
  std::optional<aws_credentials> credentials = std::nullopt;
  std::optional<aws_lender> lender = std::nullopt;
  // Whether the bucket is in the path, and not before the host.
  bool path_style = false;
  bool sends_checksums = true;
  bool asks_for_checksums = true;
  // Sent with what makes objects, and with everything.
  std::map<std::string, std::string> upload_headers = {};
  std::string expected_owner = {};

  // The URL of an object, or of the bucket itself (key ""), without a query.
  std::string url_of(std::string_view bucket, std::string_view key) const;
};

// Reads
//   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, else the web identity of a pod,
//   else the profile AWS_PROFILE of AWS_SHARED_CREDENTIALS_FILE (default ~/.aws/credentials), else
//   the agent beside a container (aws_roles.hpp) AWS_REGION or AWS_DEFAULT_REGION, else the
//   profile's of AWS_CONFIG_FILE, else us-east-1 MLFLOW_S3_ENDPOINT_URL, AWS_ENDPOINT_URL_S3 or
//   AWS_ENDPOINT_URL MLFLOW_S3_IGNORE_TLS, AWS_CA_BUNDLE, the proxy variables,
//   MLFLOW_HTTP_REQUEST_* MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE (auto, path, virtual)
//   MLFLOW_S3_UPLOAD_EXTRA_ARGS, MLFLOW_S3_EXPECTED_BUCKET_OWNER
//   AWS_REQUEST_CHECKSUM_CALCULATION, AWS_RESPONSE_CHECKSUM_VALIDATION (when_required: none)
//   MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION (s3v4, unsigned)
// Throws error(invalid_argument) naming the variable; unauthenticated where no credentials are
// found (the role of a machine is not asked for).
s3_settings resolve_s3_settings(const environment& env);

// An INI file as AWS's: sections of keys in lower case.
using ini_sections = std::map<std::string, std::map<std::string, std::string>>;
ini_sections parse_ini(std::string_view text);

}  // namespace mizzen::tracking::detail
