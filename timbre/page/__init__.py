"""What all pages share: style sheet, drawings, numbers. No page asks the network for anything."""
