// What S3 says, from its XML and headers to values; no I/O.
#pragma once

#include <mizzen/core/error.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/tracking/types.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// One page of ListObjectsV2.
struct s3_listing {
  struct object {
    std::string key = {};
    std::uint64_t size = 0;
  };
  std::vector<object> objects = {};
  std::vector<std::string> folders = {};  // common prefixes, with the slash at their end
  std::string next = {};                  // the token of the next page; empty at the end
};
s3_listing parse_listing(std::string_view xml);

// The direct entries of a folder, by paths relative to `root`, into `entries`; both have the slash
// at their end, or are empty. Throws error(data_loss) for a key that is not in the folder.
void add_entries(const s3_listing& page, std::string_view root, std::string_view folder,
                 std::vector<artifact_info>& entries);

// The id that CreateMultipartUpload gives.
std::string parse_upload_id(std::string_view xml);

struct s3_part {
  std::string etag = {};
  std::string crc32c = {};  // base64; empty: none was sent
};
// The body of CompleteMultipartUpload.
std::string completion_of(const std::vector<s3_part>& parts);

// The error that an answer tells of: by S3's code, and by the status where there is none.
// CompleteMultipartUpload may tell of one with status 200. subject: "PUT http://host/bucket/key".
error s3_error(std::string_view subject, const http::response& answer);
// S3's code, "NoSuchKey", or nothing.
std::string s3_error_code(const http::response& answer);

}  // namespace mizzen::tracking::detail
