#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/journal.hpp>

#include <array>
#include <charconv>
#include <utility>

namespace mizzen::kubernetes {

namespace {

constexpr std::string_view first_line = "mizzen-submissions 1\n";
constexpr std::string_view any_version = "mizzen-submissions ";
constexpr std::size_t checksum_digits = 8;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}

constexpr auto crc_table = make_crc_table();

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc = (crc >> 8) ^ crc_table[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  }
  return ~crc;
}

std::string hex8(std::uint32_t value) {
  std::string digits(checksum_digits, '0');
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit, value >>= 4) {
    *digit = "0123456789abcdef"[value & 0xf];
  }
  return digits;
}

// The JSON text of a line whose checksum is right. The line comes without its end.
std::optional<std::string_view> sound(std::string_view line) {
  if (line.size() < checksum_digits + 3 || line[checksum_digits] != ' ') return std::nullopt;
  const auto text = line.substr(checksum_digits + 1);
  if (line.substr(0, checksum_digits) != hex8(crc32c(text))) return std::nullopt;
  return text;
}

error damaged(std::uint64_t line, std::string_view what) {
  return error(errc::data_loss, "journal line " + std::to_string(line), what);
}

std::string text_of(const json& entry, const char* key) { return entry.at(key).get<std::string>(); }

}  // namespace

std::string_view to_string(submission_phase phase) noexcept {
  switch (phase) {
    case submission_phase::intended:
      return "intended";
    case submission_phase::accepted:
      return "accepted";
    case submission_phase::finished:
      break;
  }
  return "finished";
}

std::size_t journal_state::replay(std::string_view bytes) {
  std::size_t taken = 0;
  std::optional<std::uint64_t> cut_off;  // the first line that is not sound
  auto rest = bytes;
  for (auto line_number = lines_ + 1; !rest.empty(); ++line_number) {
    const auto end = rest.find('\n');
    if (end == rest.npos) break;  // no line without its end counts
    const auto line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line_number == 1) {
      // Written first and whole under a lock, so anything else is another file.
      if (line != first_line.substr(0, first_line.size() - 1)) {
        if (line.starts_with(any_version)) {
          throw error(errc::unimplemented, "journal line 1",
                      "written by a later version of Mizzen");
        }
        throw damaged(1, "this is no journal of submissions");
      }
    } else {
      const auto text = sound(line);
      if (!text) {
        if (!cut_off) cut_off = line_number;
        continue;
      }
      if (cut_off) throw damaged(*cut_off, "damaged, with sound lines behind it");
      const auto entry = json::parse(*text, nullptr, false);
      if (!entry.is_object())
        throw damaged(line_number, "its checksum is right, but it is no JSON object");
      try {
        apply(entry);
      } catch (const json::exception& cause) {
        throw damaged(line_number, cause.what());
      } catch (const error& cause) {
        throw error(cause.code(), "journal line " + std::to_string(line_number), cause.message());
      }
    }
    if (!cut_off) {
      taken = bytes.size() - rest.size();
      lines_ = line_number;
    }
  }
  // Of an empty file only the header can be cut off: this one was never a journal.
  if (lines_ == 0 && !first_line.starts_with(rest))
    throw damaged(1, "this is no journal of submissions");
  return taken;
}

void journal_state::apply(const json& entry) {
  const auto op = text_of(entry, "op");
  auto id = text_of(entry, "id");
  const auto found = records_.find(id);
  if (op == "intend") {
    if (found != records_.end())
      throw error(errc::data_loss, "", "intends " + id + " a second time");
    submission_record record;
    record.id = id;
    record.kind = text_of(entry, "kind");
    record.namespace_ = text_of(entry, "namespace");
    record.name = text_of(entry, "name");
    record.spec_hash = text_of(entry, "spec");
    record.intended_at = entry.at("at").get<std::int64_t>();
    records_.emplace(std::move(id), std::move(record));
    return;
  }
  if (op != "accept" && op != "finish" && op != "forget") {
    throw error(errc::unimplemented, "", "'" + op + "' comes from a later version of Mizzen");
  }
  if (found == records_.end())
    throw error(errc::data_loss, "", op + " of " + id + ", which was not intended");
  auto& record = found->second;
  if (op == "accept") {
    record.uid = text_of(entry, "uid");
    record.accepted_at = entry.at("at").get<std::int64_t>();
    if (record.phase == submission_phase::intended) record.phase = submission_phase::accepted;
  } else if (op == "finish") {
    record.outcome = entry.at("outcome");
    record.finished_at = entry.at("at").get<std::int64_t>();
    record.phase = submission_phase::finished;
  } else {
    records_.erase(found);
  }
}

std::string_view journal_state::header() noexcept { return first_line; }

std::string journal_state::line(const json& entry) {
  // Text that is not UTF-8 cannot come from the API server; kept readable rather than refused.
  const auto text = entry.dump(-1, ' ', false, json::error_handler_t::replace);
  return hex8(crc32c(text)) + ' ' + text + '\n';
}

json journal_state::intend_entry(const submission_record& record) {
  return {{"op", "intend"},          {"id", record.id},
          {"kind", record.kind},     {"namespace", record.namespace_},
          {"name", record.name},     {"spec", record.spec_hash},
          {"at", record.intended_at}};
}

json journal_state::accept_entry(const submission_record& record) {
  return {{"op", "accept"}, {"id", record.id}, {"uid", record.uid}, {"at", record.accepted_at}};
}

json journal_state::finish_entry(const submission_record& record) {
  return {
      {"op", "finish"}, {"id", record.id}, {"outcome", record.outcome}, {"at", record.finished_at}};
}

json journal_state::forget_entry(std::string_view id) { return {{"op", "forget"}, {"id", id}}; }

std::string journal_state::compacted(std::int64_t finished_before) const {
  std::string file(first_line);
  for (const auto& [id, record] : records_) {
    const bool finished = record.phase == submission_phase::finished;
    if (finished && record.finished_at < finished_before) continue;
    file += line(intend_entry(record));
    if (!record.uid.empty()) file += line(accept_entry(record));
    if (finished) file += line(finish_entry(record));
  }
  return file;
}

}  // namespace mizzen::kubernetes
