"""The same benchmark on other machines over ssh, and on a phone over adb."""
