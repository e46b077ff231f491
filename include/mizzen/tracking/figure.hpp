// Figures as SVG text, made without a display; MLflow's UI shows them as artifacts.
//
//   run.log_text(to_svg(matrix, {.title = "test split"}), "confusion.svg");
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mizzen::tracking {

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
std::string to_svg(const confusion_matrix& matrix, const figure_options& options = {});

}  // namespace mizzen::tracking
