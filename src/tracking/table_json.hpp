// Tables as pandas writes and reads them in its orientation "split".
#pragma once

#include <mizzen/core/json.hpp>
#include <mizzen/tracking/table.hpp>

#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// {"columns": [...], "data": [[...], ...]}. Throws error(invalid_argument): no column, columns of
// several lengths, a name twice.
json table_to_json(const table& columns);

// Rows of `more` below those of `first`; a column that one of them lacks has nulls there.
json concatenated(const json& first, const json& more);

// Reads what table_to_json or pandas wrote. Throws error(data_loss) naming the subject.
json parse_table(std::string_view text, std::string_view subject);

}  // namespace mizzen::tracking::detail
