"""What a found prompt is compared with, one file each: `hardprompt compare`."""
