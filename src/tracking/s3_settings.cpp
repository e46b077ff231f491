#include "tracking/s3_settings.hpp"

#include "tracking/uri.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/message.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t most_profiles = std::size_t{1} << 20;

// MLFLOW_S3_UPLOAD_EXTRA_ARGS has the names of boto3's parameters.
constexpr auto upload_parameters = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"ACL", "x-amz-acl"},
    {"BucketKeyEnabled", "x-amz-server-side-encryption-bucket-key-enabled"},
    {"CacheControl", "Cache-Control"},
    {"ContentDisposition", "Content-Disposition"},
    {"ContentEncoding", "Content-Encoding"},
    {"ContentLanguage", "Content-Language"},
    {"ContentType", "Content-Type"},
    {"ExpectedBucketOwner", "x-amz-expected-bucket-owner"},
    {"GrantFullControl", "x-amz-grant-full-control"},
    {"GrantRead", "x-amz-grant-read"},
    {"GrantReadACP", "x-amz-grant-read-acp"},
    {"GrantWriteACP", "x-amz-grant-write-acp"},
    {"ObjectLockLegalHoldStatus", "x-amz-object-lock-legal-hold"},
    {"ObjectLockMode", "x-amz-object-lock-mode"},
    {"ObjectLockRetainUntilDate", "x-amz-object-lock-retain-until-date"},
    {"RequestPayer", "x-amz-request-payer"},
    {"SSEKMSEncryptionContext", "x-amz-server-side-encryption-context"},
    {"SSEKMSKeyId", "x-amz-server-side-encryption-aws-kms-key-id"},
    {"ServerSideEncryption", "x-amz-server-side-encryption"},
    {"StorageClass", "x-amz-storage-class"},
    {"Tagging", "x-amz-tagging"},
});

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

// Nothing where there is no such file.
ini_sections read_ini(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return {};
  std::string text(most_profiles + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > most_profiles) {
    throw error(errc::invalid_argument, path, "it is larger than 1 MiB, which no such file is");
  }
  return parse_ini(text);
}

class profile {
 public:
  explicit profile(const environment& env)
      : name_(env("AWS_PROFILE").value_or(env("AWS_DEFAULT_PROFILE").value_or("default"))),
        is_named_(env("AWS_PROFILE") || env("AWS_DEFAULT_PROFILE")) {
    const auto home = env("HOME");
    const auto place = [&](const char* variable, const char* name) {
      return env(variable).value_or(home ? *home + "/.aws/" + name : std::string());
    };
    credentials_ = read_ini(place("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
    config_ = read_ini(place("AWS_CONFIG_FILE", "config"));
    if (is_named_ && !credentials_.contains(name_) && !config_.contains("profile " + name_) &&
        !config_.contains(name_)) {
      throw error(errc::invalid_argument, "AWS_PROFILE",
                  "there is no profile '" + name_ + "' in ~/.aws/credentials and ~/.aws/config");
    }
  }

  std::optional<std::string> operator()(const std::string& key) const {
    if (auto found = find(credentials_, name_, key)) return found;
    if (auto found = find(config_, "profile " + name_, key)) return found;
    return find(config_, name_, key);
  }

 private:
  static std::optional<std::string> find(const ini_sections& in, const std::string& section,
                                         const std::string& key) {
    const auto its = in.find(section);
    if (its == in.end() || !its->second.contains(key)) return std::nullopt;
    return its->second.at(key);
  }

  std::string name_;
  bool is_named_;
  ini_sections credentials_;
  ini_sections config_;
};

void find_credentials(const environment& env, const profile& from, s3_settings& out) {
  if (const auto key = env("AWS_ACCESS_KEY_ID")) {
    const auto secret = env("AWS_SECRET_ACCESS_KEY");
    if (!secret) {
      throw error(errc::invalid_argument, "AWS_SECRET_ACCESS_KEY",
                  "it is not set, but AWS_ACCESS_KEY_ID is");
    }
    out.credentials = {*key, *secret, env("AWS_SESSION_TOKEN").value_or("")};
    return;
  }
  out.lender = find_web_identity(env, out.region);
  if (out.lender) return;
  const auto key = from("aws_access_key_id");
  const auto secret = from("aws_secret_access_key");
  if (key && secret) {
    out.credentials = {*key, *secret, from("aws_session_token").value_or("")};
    return;
  }
  out.lender = find_agent(env);
  if (out.lender) return;
  throw error(
      errc::unauthenticated, "AWS credentials",
      "there are none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and "
      "AWS_SESSION_TOKEN), name a profile of ~/.aws/credentials in AWS_PROFILE, or give the "
      "pod a web identity; the roles of machines are not asked for");
}

bool is_required_only(std::string_view name, const environment& env) {
  const std::string value = lower(env(name).value_or("when_supported"));
  if (value == "when_required") return true;
  if (value == "when_supported") return false;
  throw error(errc::invalid_argument, name,
              "'" + value + "' is neither when_supported nor when_required");
}

std::map<std::string, std::string> parse_upload_arguments(const std::string& text) {
  constexpr std::string_view name = "MLFLOW_S3_UPLOAD_EXTRA_ARGS";
  const json given = json::parse(text, nullptr, false);
  if (!given.is_object()) throw error(errc::invalid_argument, name, "it is not a JSON object");
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : given.items()) {
    const auto* const known = std::ranges::find(
        upload_parameters, key, [](const auto& each) { return std::string(each.first); });
    if (known == upload_parameters.end()) {
      throw error(errc::unimplemented, name, "'" + key + "' is not known here");
    }
    out[std::string(known->second)] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return out;
}

// Whether it can stand before the host and match its certificate.
bool is_host_label(std::string_view bucket) {
  return bucket.size() <= 63 && !bucket.starts_with('-') && !bucket.ends_with('-') &&
         std::ranges::all_of(bucket, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

}  // namespace

ini_sections parse_ini(std::string_view text) {
  ini_sections out;
  std::string section;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view raw = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view line = trimmed(raw);
    // What is indented belongs to the setting above it: none that is read here.
    if (line.empty() || line[0] == '#' || line[0] == ';' || raw[0] == ' ' || raw[0] == '\t') {
      continue;
    }
    if (line[0] == '[') {
      section = trimmed(line.substr(1, line.find(']') - 1));
      continue;
    }
    const auto mark = line.find('=');
    if (mark == std::string_view::npos) continue;
    out[section][lower(trimmed(line.substr(0, mark)))] = trimmed(line.substr(mark + 1));
  }
  return out;
}

s3_location parse_s3_location(std::string_view location) {
  constexpr std::string_view scheme = "s3://";
  const auto refuse = [&](std::string_view why) {
    throw error(errc::invalid_argument, "artifact location '" + std::string(location) + "'", why);
  };
  if (!location.starts_with(scheme)) refuse("it is not s3://<bucket>/<prefix>");
  const std::string_view rest = location.substr(scheme.size());
  const std::string_view bucket = rest.substr(0, rest.find('/'));
  const bool is_bucket = !bucket.empty() && std::ranges::all_of(bucket, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
  if (!is_bucket) refuse("a bucket has letters, digits, '-', '.' and '_'");
  std::string_view prefix = rest.substr(bucket.size());
  if (prefix.starts_with('/')) prefix.remove_prefix(1);
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  return {std::string(bucket), std::string(prefix)};
}

std::string s3_settings::url_of(std::string_view bucket, std::string_view key) const {
  std::string url = connection.url;
  if (path_style || !is_host_label(bucket)) {
    url.append("/").append(bucket);
  } else {
    url.insert(url.find("://") + 3, std::string(bucket) + ".");
  }
  url += '/';
  for (;;) {
    const auto slash = key.find('/');
    url += http::percent_encode(key.substr(0, slash));
    if (slash == std::string_view::npos) return url;
    url += '/';
    key.remove_prefix(slash + 1);
  }
}

s3_settings resolve_s3_settings(const environment& env) {
  const profile from(env);
  s3_settings out;
  const auto region = env("AWS_REGION");
  out.region =
      region ? *region : env("AWS_DEFAULT_REGION").value_or(from("region").value_or("us-east-1"));
  const bool is_region = std::ranges::all_of(out.region, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
  if (!is_region) throw error(errc::invalid_argument, "AWS_REGION", "it is not a region's name");

  std::optional<std::string> endpoint;
  for (const char* name : {"MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"}) {
    if (!endpoint) endpoint = env(name);
  }
  const std::string suffix = out.region.starts_with("cn-") ? ".amazonaws.com.cn" : ".amazonaws.com";
  // The tracking server's credentials are not for the store.
  const auto without_tracking = [&env](std::string_view name) -> std::optional<std::string> {
    const bool of_tracking =
        name.starts_with("MLFLOW_TRACKING_") || name == "MLFLOW_WORKSPACE" || name == "HOME";
    return of_tracking ? std::nullopt : env(name);
  };
  try {
    out.connection = resolve_rest_settings(endpoint.value_or("https://s3." + out.region + suffix),
                                           {}, without_tracking);
  } catch (const error& e) {
    if (e.subject() != "tracking uri") throw;
    throw error(e.code(), "MLFLOW_S3_ENDPOINT_URL", e.message());
  }
  out.connection.authorization.clear();
  if (const auto text = env("MLFLOW_S3_IGNORE_TLS")) {
    out.connection.verify_tls = !parse_flag("MLFLOW_S3_IGNORE_TLS", *text);
  }
  out.connection.server_certificate_file = env("AWS_CA_BUNDLE").value_or("");

  const std::string style = lower(env("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE").value_or("auto"));
  if (style != "auto" && style != "path" && style != "virtual") {
    throw error(errc::invalid_argument, "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE",
                "'" + style + "' is none of auto, path, virtual");
  }
  out.path_style = style == "path" || (style == "auto" && endpoint);

  const std::string version =
      lower(env("MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION").value_or("s3v4"));
  if (version == "s3v4") {
    find_credentials(env, from, out);
  } else if (version != "unsigned") {
    throw error(errc::unimplemented, "MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION",
                "'" + version + "' is neither s3v4 nor unsigned");
  }
  out.sends_checksums = !is_required_only("AWS_REQUEST_CHECKSUM_CALCULATION", env);
  out.asks_for_checksums = !is_required_only("AWS_RESPONSE_CHECKSUM_VALIDATION", env);
  if (const auto text = env("MLFLOW_S3_UPLOAD_EXTRA_ARGS")) {
    out.upload_headers = parse_upload_arguments(*text);
  }
  out.expected_owner = env("MLFLOW_S3_EXPECTED_BUCKET_OWNER").value_or("");
  return out;
}

}  // namespace mizzen::tracking::detail
