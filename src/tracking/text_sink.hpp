// The body of an answer as a text of bounded size.
#pragma once

#include <mizzen/core/error.hpp>
#include <mizzen/http/transfer.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace mizzen::tracking::detail {

class text_sink : public http::resumable_sink {
 public:
  // subject: for the error(resource_exhausted) beyond `most` bytes.
  text_sink(std::string subject, std::size_t most) : subject_(std::move(subject)), most_(most) {}

  std::string take() { return std::move(text_); }

 protected:
  void restart(const http::response&) override { text_.clear(); }
  void append(std::string_view piece) override {
    if (piece.size() > most_ - text_.size()) {
      throw error(errc::resource_exhausted, subject_,
                  "it is larger than " + std::to_string(most_) + " bytes");
    }
    text_ += piece;
  }

 private:
  const std::string subject_;
  const std::size_t most_;
  std::string text_;
};

}  // namespace mizzen::tracking::detail
