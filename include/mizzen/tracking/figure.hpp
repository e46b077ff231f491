// Figures as SVG and PNG, made without a display; MLflow's UI shows them as artifacts.
//
//   run.log_figure(draw(matrix, {.title = "test split"}), "confusion.svg");
//   run.log_figure(draw(one_vs_rest_roc(actual, scores, labels)), "roc.png");
//
// Here: the confusion matrix. Lines and histograms are in plot.hpp, ROC and precision-recall curves
// in curves.hpp. Both outputs are drawn from one description and depend on nothing but what is
// given: no font file, no locale, no environment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace mizzen::tracking {

namespace detail {
struct scene;
}

// A finished drawing. A value: cheap to copy, immutable, safe to use from several threads.
class figure {
 public:
  // Internal; figures come from draw().
  explicit figure(detail::scene drawn);

  // Size in CSS pixels.
  double width() const noexcept;
  double height() const noexcept;

  // An SVG 1.1 document; the viewer's sans-serif font writes its text.
  std::string to_svg() const;

  // A PNG file (8-bit RGB) of `scale` times its size: 2 is sharp on the screens of today. Text is
  // written in a font of Mizzen's own that has ASCII, the letters of Latin-1 and a few signs; other
  // characters become a small box. Throws error(invalid_argument) for a scale outside 0.25 to 8 and
  // error(out_of_range) where the image would have more than 64 million pixels.
  std::vector<std::byte> to_png(double scale = 2) const;

 private:
  std::shared_ptr<const detail::scene> scene_;
};

// How often each true class was predicted as which.
class confusion_matrix {
 public:
  // One class per label, at most 100. Throws error(invalid_argument) for none or too many.
  explicit confusion_matrix(std::vector<std::string> labels);

  // Counts one prediction. Classes are indices of labels; throws error(out_of_range).
  void add(std::size_t actual, std::size_t predicted);

  // Counts predictions pairwise; throws error(invalid_argument) if the lengths differ.
  void add(std::span<const std::size_t> actual, std::span<const std::size_t> predicted);

  const std::vector<std::string>& labels() const noexcept { return labels_; }
  std::uint64_t count(std::size_t actual, std::size_t predicted) const;
  std::uint64_t total() const noexcept;
  // Share of predictions on the diagonal; 0 when there are none.
  double accuracy() const noexcept;

 private:
  std::vector<std::string> labels_;
  std::vector<std::uint64_t> counts_;  // row: actual, column: predicted
};

struct figure_options {
  std::string title = {};
  unsigned cell = 44;  // pixels of a cell's side, 8 to 400
};

// Rows are true classes, columns predictions; the colour is the share of its row, the number the
// count, with a colour scale at the right.
figure draw(const confusion_matrix& matrix, const figure_options& options = {});

// draw(matrix, options).to_svg()
std::string to_svg(const confusion_matrix& matrix, const figure_options& options = {});

}  // namespace mizzen::tracking
