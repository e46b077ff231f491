// What a server says beyond the schema that this library was built with.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// Members of an object that its type does not know, kept so that reading, changing and writing an
// object of a newer server loses nothing. Each level of an object keeps its own. 8 bytes when
// empty.
//
// The two encodings do not mix: what came as JSON is a name and its text, what came as protobuf is
// a field number and its bytes. Writing an object in the other encoding than its unknown members
// came in is error(failed_precondition), never a silent loss; clear() says that they may go.
class unknown {
 public:
  unknown() noexcept = default;
  unknown(const unknown& other)
      : content_(other.content_ ? std::make_unique<content>(*other.content_) : nullptr) {}
  unknown(unknown&&) noexcept = default;
  unknown& operator=(const unknown& other) {
    if (this != &other) *this = unknown(other);
    return *this;
  }
  unknown& operator=(unknown&&) noexcept = default;
  ~unknown() = default;

  bool empty() const noexcept { return !content_; }
  void clear() noexcept { content_.reset(); }

  // Names and JSON texts, in the order in which they came.
  const std::vector<std::pair<std::string, std::string>>& json_members() const noexcept {
    static const std::vector<std::pair<std::string, std::string>> none;
    return content_ ? content_->json : none;
  }
  // Adds a member; the text must be one well-formed JSON value.
  void add_json(std::string name, std::string text) {
    own().json.emplace_back(std::move(name), std::move(text));
  }

  // Whole protobuf fields, tag included, one after another.
  std::string_view protobuf_fields() const noexcept {
    return content_ ? std::string_view(content_->protobuf) : std::string_view();
  }
  // Adds whole, well-formed fields.
  void add_protobuf(std::string_view fields) { own().protobuf.append(fields); }

  friend bool operator==(const unknown& a, const unknown& b) {
    return a.json_members() == b.json_members() && a.protobuf_fields() == b.protobuf_fields();
  }

 private:
  struct content {
    std::vector<std::pair<std::string, std::string>> json;
    std::string protobuf;
  };

  content& own() {
    if (!content_) content_ = std::make_unique<content>();
    return *content_;
  }

  std::unique_ptr<content> content_;  // null when there is nothing
};

}  // namespace mizzen::kubernetes
