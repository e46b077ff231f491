#include <mizzen/core/error.hpp>
#include <mizzen/tracking/figure.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string_view>
#include <utility>

namespace mizzen::tracking {
namespace {

constexpr std::size_t most_labels = 100;

struct colour {
  double red, green, blue;
};

// From near white to a deep blue, evenly in lightness, so that it also reads in grey.
constexpr colour lightest{247, 251, 255};
constexpr colour darkest{8, 48, 107};

std::string shade(double share) {
  const auto mix = [share](double from, double to) {
    return static_cast<int>(std::lround(from + (to - from) * share));
  };
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", mix(lightest.red, darkest.red),
                mix(lightest.green, darkest.green), mix(lightest.blue, darkest.blue));
  return text;
}

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // XML has no way to write the other control characters.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\t' || c == '\n') out += c;
    }
  }
  return out;
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

class svg_writer {
 public:
  void rect(double x, double y, double width, double height, const std::string& fill) {
    out_ += "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(width) +
            "\" height=\"" + number(height) + "\" fill=\"" + fill + "\"/>\n";
  }
  void text(double x, double y, std::string_view content, std::string_view anchor, double size,
            std::string_view extra = {}) {
    out_ += "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" +
            std::string(anchor) + "\" font-size=\"" + number(size) + "\"" + std::string(extra) +
            ">" + xml_escaped(content) + "</text>\n";
  }
  void raw(std::string_view content) { out_ += content; }
  std::string document(double width, double height) const {
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width) + "\" height=\"" +
           number(height) + "\" viewBox=\"0 0 " + number(width) + " " + number(height) +
           "\" font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" "
           "fill=\"#ffffff\"/>\n" +
           out_ + "</svg>\n";
  }
  static std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", value);
    return text;
  }

 private:
  std::string out_;
};

}  // namespace

confusion_matrix::confusion_matrix(std::vector<std::string> labels) : labels_(std::move(labels)) {
  if (labels_.empty() || labels_.size() > most_labels) {
    throw error(errc::invalid_argument, "confusion_matrix.labels",
                "there are " + std::to_string(labels_.size()) + "; 1 to 100 can be shown");
  }
  counts_.resize(labels_.size() * labels_.size());
}

void confusion_matrix::add(std::size_t actual, std::size_t predicted) {
  const std::size_t worst = std::max(actual, predicted);
  if (worst >= labels_.size()) {
    throw error(errc::out_of_range, actual == worst ? "actual" : "predicted",
                "class " + std::to_string(worst) + " of " + std::to_string(labels_.size()) +
                    " labels; classes count from 0");
  }
  ++counts_[actual * labels_.size() + predicted];
}

void confusion_matrix::add(std::span<const std::size_t> actual,
                           std::span<const std::size_t> predicted) {
  if (actual.size() != predicted.size()) {
    throw error(errc::invalid_argument, "predicted",
                std::to_string(predicted.size()) + " predictions for " +
                    std::to_string(actual.size()) + " true classes");
  }
  for (std::size_t i = 0; i < actual.size(); ++i) add(actual[i], predicted[i]);
}

std::uint64_t confusion_matrix::count(std::size_t actual, std::size_t predicted) const {
  if (std::max(actual, predicted) >= labels_.size()) {
    throw error(errc::out_of_range, "confusion_matrix", "there is no such class");
  }
  return counts_[actual * labels_.size() + predicted];
}

std::uint64_t confusion_matrix::total() const noexcept {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

double confusion_matrix::accuracy() const noexcept {
  std::uint64_t right = 0;
  for (std::size_t i = 0; i < labels_.size(); ++i) right += counts_[i * labels_.size() + i];
  const std::uint64_t all = total();
  return all == 0 ? 0.0 : static_cast<double>(right) / static_cast<double>(all);
}

std::string to_svg(const confusion_matrix& matrix, const figure_options& options) {
  if (options.cell < 8 || options.cell > 400) {
    throw error(errc::invalid_argument, "figure_options.cell",
                std::to_string(options.cell) + " pixels; 8 to 400 are allowed");
  }
  const std::vector<std::string>& labels = matrix.labels();
  const double cell = options.cell;
  const auto side = cell * static_cast<double>(labels.size());
  const double font = std::clamp(cell * 0.32, 5.0, 16.0);

  std::size_t longest = 1;
  for (const std::string& label : labels) longest = std::max(longest, characters(label));
  const double label_width = static_cast<double>(longest) * font * 0.62 + 8;
  // Long labels stand on end below their columns.
  const bool upright = label_width > cell;
  const double left = label_width + font * 2 + 12;
  const double top = options.title.empty() ? 16 : font * 2 + 28;
  const double below = (upright ? label_width : font * 1.8) + font * 2 + 14;
  const double scale_width = 18;
  const double scale_left = left + side + 24;

  svg_writer svg;
  if (!options.title.empty()) {
    svg.text(left + side / 2, font + 14, options.title, "middle", font * 1.25,
             " font-weight=\"bold\"");
  }
  char line[96];
  std::snprintf(line, sizeof line, "accuracy %.2f %% of %llu", matrix.accuracy() * 100,
                static_cast<unsigned long long>(matrix.total()));
  if (!options.title.empty()) svg.text(left + side / 2, top - 8, line, "middle", font * 0.9);

  for (std::size_t row = 0; row < labels.size(); ++row) {
    std::uint64_t row_total = 0;
    for (std::size_t column = 0; column < labels.size(); ++column) {
      row_total += matrix.count(row, column);
    }
    const double y = top + cell * static_cast<double>(row);
    svg.text(left - 6, y + cell / 2 + font * 0.35, labels[row], "end", font);
    for (std::size_t column = 0; column < labels.size(); ++column) {
      const std::uint64_t count = matrix.count(row, column);
      const double share =
          row_total == 0 ? 0 : static_cast<double>(count) / static_cast<double>(row_total);
      const double x = left + cell * static_cast<double>(column);
      svg.raw("<g><title>" + xml_escaped(labels[row]) + " as " + xml_escaped(labels[column]) +
              ": " + std::to_string(count) + "</title>\n");
      svg.rect(x, y, cell, cell, shade(share));
      const std::string number = std::to_string(count);
      const double fitting = cell * 0.9 / (static_cast<double>(number.size()) * 0.62);
      svg.text(x + cell / 2, y + cell / 2 + std::min(font, fitting) * 0.35, number, "middle",
               std::min(font, fitting),
               share > 0.5  ? " fill=\"#ffffff\""
               : count == 0 ? " fill=\"#9aa5b1\""
                            : "");
      svg.raw("</g>\n");
    }
  }
  for (std::size_t column = 0; column < labels.size(); ++column) {
    const double x = left + cell * (static_cast<double>(column) + 0.5);
    const double y = top + side;
    if (upright) {
      const std::string at = svg_writer::number(x + font * 0.35) + " " + svg_writer::number(y + 6);
      svg.text(x + font * 0.35, y + 6, labels[column], "end", font,
               " transform=\"rotate(-90 " + at + ")\"");
    } else {
      svg.text(x, y + font * 1.4, labels[column], "middle", font);
    }
  }
  svg.raw("<rect x=\"" + svg_writer::number(left) + "\" y=\"" + svg_writer::number(top) +
          "\" width=\"" + svg_writer::number(side) + "\" height=\"" + svg_writer::number(side) +
          "\" fill=\"none\" stroke=\"#52606d\"/>\n");
  svg.text(left + side / 2, top + side + below - 8, "predicted", "middle", font);
  const std::string turn = svg_writer::number(font + 4) + " " + svg_writer::number(top + side / 2);
  svg.text(font + 4, top + side / 2, "actual", "middle", font,
           " transform=\"rotate(-90 " + turn + ")\"");

  constexpr int steps = 20;
  for (int i = 0; i < steps; ++i) {
    svg.rect(scale_left, top + side * i / steps, scale_width, side / steps + 0.5,
             shade(1 - (i + 0.5) / steps));
  }
  svg.text(scale_left + scale_width + 6, top + font, "100 %", "start", font * 0.9);
  svg.text(scale_left + scale_width + 6, top + side, "0 % of its row", "start", font * 0.9);
  return svg.document(scale_left + scale_width + font * 8 + 16, top + side + below);
}

}  // namespace mizzen::tracking
