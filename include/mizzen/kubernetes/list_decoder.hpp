// Reads the answer to a list while it arrives.
#pragma once

#include <mizzen/kubernetes/serialization.hpp>
#include <mizzen/kubernetes/types/meta_v1.hpp>
#include <mizzen/kubernetes/unknown.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace mizzen::kubernetes {

// The encoding of a body.
enum class body_encoding : std::uint8_t { json, protobuf };

// The encoding that a Content-Type names, or nothing for another one. Parameters are ignored.
std::optional<body_encoding> body_encoding_of(std::string_view content_type) noexcept;

// What a decoder takes from a server before it gives up.
struct decoder_limits {
  std::size_t item_bytes = std::size_t{32} << 20;  // one object, or one watch event
};

// One item of a list: views that live until the next call on its decoder.
struct list_item {
  std::string_view object = {};       // JSON text, or a bare protobuf message
  std::string_view api_version = {};  // of the list, when it has come before the item
  std::string_view kind = {};         // of the list: "PodList"
};

// Cuts the body of a list into its items as they arrive, so that reading them overlaps with the
// server's writing. No socket in it: whoever has bytes feeds them.
//
//   decoder.feed(piece);
//   while (auto item = decoder.next()) { … }
//   … and after the last piece: decoder.finish();
//
// JSON may have its members in any order. Holds no more than one item and one piece. Not thread
// safe. Errors: error(data_loss) for a damaged or truncated body (subject "items[17]"), and
// error(resource_exhausted) for an item beyond the limit. After an error it is of no more use.
class list_item_decoder {
 public:
  explicit list_item_decoder(body_encoding encoding, decoder_limits limits = {});
  ~list_item_decoder();
  list_item_decoder(list_item_decoder&&) noexcept;
  list_item_decoder& operator=(list_item_decoder&&) noexcept;

  void feed(std::string_view piece);
  // The next whole item, or nothing until more is fed.
  std::optional<list_item> next();
  // The body has ended. Throws error(data_loss) if the list has not.
  void finish();

  body_encoding encoding() const noexcept;
  // Items handed out so far.
  std::size_t count() const noexcept;
  // What the list says of itself, as far as it has come: JSON lists of the server begin with it.
  // Complete after finish().
  const meta_v1::list_meta& metadata() const noexcept;
  const std::string& api_version() const noexcept;
  const std::string& kind() const noexcept;
  // What else the list says.
  const unknown& unknown_members() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

// The same with items decoded. Errors name the field: "items[17].spec.containers[0].image".
template <typename Kind>
class list_decoder {
 public:
  explicit list_decoder(body_encoding encoding, decoder_limits limits = {})
      : items_(encoding, limits) {}

  void feed(std::string_view piece) { items_.feed(piece); }

  // Reads the next whole item into `item` (which must be new, or moved from and reassigned); false
  // until more is fed.
  bool next(Kind& item) {
    const auto found = items_.next();
    if (!found) return false;
    read(*found, item);
    return true;
  }
  std::optional<Kind> next() {
    std::optional<Kind> item;
    if (const auto found = items_.next()) read(*found, item.emplace());
    return item;
  }
  void finish() { items_.finish(); }

  std::size_t count() const noexcept { return items_.count(); }
  const meta_v1::list_meta& metadata() const noexcept { return items_.metadata(); }
  const list_item_decoder& raw() const noexcept { return items_; }

 private:
  void read(const list_item& found, Kind& item) {
    try {
      if (items_.encoding() == body_encoding::json) {
        codec<Kind>::from_json(found.object, item);
      } else {
        codec<Kind>::from_protobuf(found.object, item);
      }
    } catch (const error& problem) {
      const std::string place = "items[" + std::to_string(items_.count() - 1) + "]";
      const std::string& field = problem.subject();
      throw error(problem.code(), field.empty() ? place : place + '.' + field, problem.message());
    }
  }

  list_item_decoder items_;
};

}  // namespace mizzen::kubernetes
