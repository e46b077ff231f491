#include "tracking/s3_messages.hpp"

#include "tracking/xml.hpp"

#include <mizzen/tracking/mlflow_error.hpp>

#include <array>
#include <charconv>
#include <system_error>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

[[noreturn]] void refuse(std::string_view why) { throw error(errc::data_loss, "answer", why); }

xml_element parse_as(std::string_view xml, std::string_view name) {
  xml_element root = parse_xml(xml);
  if (root.name != name) refuse("it is a " + root.name + ", and no " + std::string(name));
  return root;
}

std::uint64_t number_of(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc{} || end != text.data() + text.size()) {
    refuse("'" + std::string(text.substr(0, 40)) + "' is not a number");
  }
  return value;
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
constexpr auto codes = std::to_array<std::pair<std::string_view, errc>>({
    {"AccessDenied", errc::permission_denied},
    {"AllAccessDisabled", errc::permission_denied},
    {"BadDigest", errc::data_loss},
    {"EntityTooLarge", errc::out_of_range},
    {"EntityTooSmall", errc::out_of_range},
    {"ExpiredToken", errc::unauthenticated},
    {"InternalError", errc::unavailable},
    {"InvalidAccessKeyId", errc::unauthenticated},
    {"InvalidToken", errc::unauthenticated},
    {"NoSuchBucket", errc::not_found},
    {"NoSuchKey", errc::not_found},
    {"NoSuchUpload", errc::not_found},
    {"QuotaExceeded", errc::resource_exhausted},
    {"RequestTimeTooSkewed", errc::unauthenticated},
    {"ServiceUnavailable", errc::unavailable},
    {"SignatureDoesNotMatch", errc::unauthenticated},
    {"SlowDown", errc::unavailable},
    {"XAmzContentSHA256Mismatch", errc::data_loss},
});

// The <Error> of an answer, or an empty element.
xml_element error_of(const http::response& answer) {
  if (answer.body.empty()) return {};
  try {
    xml_element root = parse_xml(answer.body);
    if (root.name == "Error") return root;
    // Of the security token service.
    if (const xml_element* inner = root.find("Error"); root.name == "ErrorResponse" && inner) {
      return *inner;
    }
  } catch (const error&) {  // NOLINT(bugprone-empty-catch): a proxy's page, say
  }
  return {};
}

}  // namespace

s3_listing parse_listing(std::string_view xml) {
  const xml_element root = parse_as(xml, "ListBucketResult");
  s3_listing page;
  for (const xml_element& each : root.children) {
    if (each.name == "Contents") {
      page.objects.push_back({std::string(each.value("Key")), number_of(each.value("Size"))});
    } else if (each.name == "CommonPrefixes") {
      for (const xml_element& folder : each.children) {
        if (folder.name == "Prefix") page.folders.push_back(folder.text);
      }
    }
  }
  if (root.value("IsTruncated") == "true") {
    page.next = root.value("NextContinuationToken");
    if (page.next.empty()) refuse("a listing that goes on does not say where");
  }
  return page;
}

void add_entries(const s3_listing& page, std::string_view root, std::string_view folder,
                 std::vector<artifact_info>& entries) {
  const auto relative = [&](std::string_view key) {
    if (!key.starts_with(folder) || key.size() == folder.size()) {
      refuse("'" + std::string(key) + "' is not in the folder that was asked for");
    }
    return std::string(key.substr(root.size()));
  };
  for (const s3_listing::object& each : page.objects) {
    // What some programs make so that a folder shows without anything in it.
    if (each.size == 0 && (each.key == folder || each.key.ends_with('/'))) continue;
    entries.push_back({relative(each.key), false, each.size});
  }
  for (const std::string& each : page.folders) {
    std::string path = relative(each);
    if (path.ends_with('/')) path.pop_back();
    entries.push_back({std::move(path), true, 0});
  }
}

std::string parse_upload_id(std::string_view xml) {
  std::string id(parse_as(xml, "InitiateMultipartUploadResult").value("UploadId"));
  if (id.empty()) refuse("an upload in parts has no id");
  return id;
}

std::string completion_of(const std::vector<s3_part>& parts) {
  std::string body = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  for (std::size_t i = 0; i < parts.size(); ++i) {
    body += "<Part><PartNumber>" + std::to_string(i + 1) + "</PartNumber><ETag>" +
            escape_xml(parts[i].etag) + "</ETag>";
    if (!parts[i].crc32c.empty()) {
      body += "<ChecksumCRC32C>" + escape_xml(parts[i].crc32c) + "</ChecksumCRC32C>";
    }
    body += "</Part>";
  }
  return body + "</CompleteMultipartUpload>";
}

std::string s3_error_code(const http::response& answer) {
  return std::string(error_of(answer).value("Code"));
}

error s3_error(std::string_view subject, const http::response& answer) {
  const xml_element said = error_of(answer);
  const std::string_view code = said.value("Code");
  std::string message = "the store answered " + std::to_string(answer.status);
  if (!code.empty()) message += " " + std::string(code);
  if (!said.value("Message").empty()) message += ": " + std::string(said.value("Message"));
  const std::string_view region = answer.headers.value("x-amz-bucket-region");
  if (!region.empty() && answer.status != 404 && answer.status != 403) {
    message += "; the bucket is in " + std::string(region) + ": set AWS_REGION";
  }
  errc meaning = errc_of_mlflow({}, answer.status);
  if (answer.ok()) meaning = errc::unknown;
  for (const auto& [name, its] : codes) {
    if (name == code) meaning = its;
  }
  return error(meaning, subject, message);
}

}  // namespace mizzen::tracking::detail
