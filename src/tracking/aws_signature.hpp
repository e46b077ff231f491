// AWS Signature Version 4, as S3 wants it, without I/O and without a clock.
#pragma once

#include <mizzen/http/message.hpp>

#include <chrono>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

struct aws_credentials {
  std::string access_key = {};
  std::string secret_key = {};
  std::string session_token = {};  // of temporary credentials
};

// Who may do what, where: "AKIA…/20130524/us-east-1/s3/aws4_request" without the key and the day.
struct aws_scope {
  std::string region = {};
  std::string service = "s3";
};

// Signs a request for its URL: sets X-Amz-Date, X-Amz-Security-Token and Authorization, anew if
// they are there. Every header but those that a proxy may change is signed. payload_sha256:
// hexadecimal, of the body, or "UNSIGNED-PAYLOAD"; for S3 it must be the header
// X-Amz-Content-Sha256 too.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
void sign_request(http::request& what, const aws_credentials& as, const aws_scope& where,
                  std::string_view payload_sha256, std::chrono::system_clock::time_point now);

}  // namespace mizzen::tracking::detail
