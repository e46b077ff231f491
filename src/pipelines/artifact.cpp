#include <mizzen/core/error.hpp>
#include <mizzen/pipelines/artifact.hpp>

#include <cmath>
#include <fstream>
#include <iterator>
#include <utility>

namespace mizzen::pipelines {
namespace {

constexpr std::string_view confusion_matrix = "confusionMatrix";
constexpr std::string_view confidence_metrics = "confidenceMetrics";

double finite(double value, std::string_view subject) {
  if (!std::isfinite(value)) {
    throw error(errc::out_of_range, subject, "the value is not finite, and JSON has no NaN");
  }
  return value;
}

}  // namespace

artifact::artifact(std::filesystem::path path, json about)
    : metadata(std::move(about)), path_(std::move(path)) {}

std::string artifact::uri() const {
  constexpr std::string_view hex = "0123456789ABCDEF";
  constexpr std::string_view plain = "-._~/";
  std::string uri = "file://";
  for (const char c : std::filesystem::absolute(path_).lexically_normal().string()) {
    const bool alphanumeric =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (alphanumeric || plain.find(c) != std::string_view::npos) {
      uri += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      uri += '%';
      uri += hex[byte >> 4U];
      uri += hex[byte & 15U];
    }
  }
  return uri;
}

std::string artifact::read() const {
  std::ifstream file(path_, std::ios::binary);
  if (!file || !std::filesystem::is_regular_file(path_)) {
    throw error(errc::not_found, path_.string(), "there is no such file, or it cannot be read");
  }
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad()) throw error(errc::unavailable, path_.string(), "reading the file failed");
  return bytes;
}

void artifact::write(std::string_view bytes) const {
  std::ofstream file(path_, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) {
    throw error(errc::unavailable, path_.string(), "the file cannot be written (disk full?)");
  }
}

void metrics::log(std::string_view name, double value) {
  metadata[std::string(name)] = finite(value, name);
}

void classification_metrics::log_confusion_matrix(std::span<const std::string> categories,
                                                  const std::vector<std::vector<double>>& rows) {
  if (rows.size() != categories.size()) {
    throw error(errc::invalid_argument, confusion_matrix, "one row per category is needed");
  }
  json matrix = json::array();
  for (const std::vector<double>& row : rows) {
    if (row.size() != categories.size()) {
      throw error(errc::invalid_argument, confusion_matrix, "one column per category is needed");
    }
    json cells = json::array();
    for (const double cell : row) cells.push_back(finite(cell, confusion_matrix));
    matrix.push_back({{"row", std::move(cells)}});
  }
  json specs = json::array();
  for (const std::string& category : categories) specs.push_back({{"displayName", category}});
  metadata[std::string(confusion_matrix)] = {{"annotationSpecs", std::move(specs)},
                                             {"rows", std::move(matrix)}};
}

void classification_metrics::log_roc_curve(std::span<const double> false_positive_rate,
                                           std::span<const double> true_positive_rate,
                                           std::span<const double> threshold) {
  if (false_positive_rate.size() != true_positive_rate.size() ||
      false_positive_rate.size() != threshold.size()) {
    throw error(errc::invalid_argument, confidence_metrics, "the three lists differ in length");
  }
  json points = json::array();
  for (std::size_t i = 0; i < threshold.size(); ++i) {
    points.push_back({{"falsePositiveRate", finite(false_positive_rate[i], confidence_metrics)},
                      {"recall", finite(true_positive_rate[i], confidence_metrics)},
                      {"confidenceThreshold", finite(threshold[i], confidence_metrics)}});
  }
  metadata[std::string(confidence_metrics)] = std::move(points);
}

}  // namespace mizzen::pipelines
