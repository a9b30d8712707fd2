-- Count in moving windows, or say which one is full; then nothing is counted.
-- KEYS  none
-- ARGV  1 windows (see limits.lua)
-- Answer: {'counted', what is left of each} | {'limited', window, limit, ms until it has room}
local window_text = ARGV[1]

local now, windows = now_ms(), read_windows(window_text)
return find_full_window(windows, now) or { 'counted', unpack(count_in_windows(windows, now)) }
