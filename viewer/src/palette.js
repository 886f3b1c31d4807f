// The colours of the page's 3D view; page.css holds the same tints for its legend.

// thumb, index, middle, ring, little, palm: left hands are cool, right hands are warm
export const LEFT = ["#aab4ff", "#90adff", "#78b1ff", "#63bdf6", "#58cbe4", "#83a3f2"];
export const RIGHT = ["#ffb184", "#ff9b78", "#ff8a78", "#fb7c80", "#f2728c", "#f58a7a"];
export const SOLID = [LEFT, RIGHT];
export const TINT = ["#7fa8ff", "#ff8f86"];
const GOLD_LEFT = ["#ffd45e", "#ffcd4e", "#ffc742", "#fdc138", "#f9ba2e", "#fcc648"];
const GOLD_RIGHT = ["#ffc04a", "#ffb83a", "#ffb02e", "#fba824", "#f59f1b", "#faae30"];
export const LIKELY = [GOLD_LEFT, GOLD_RIGHT];
export const GOLD = "#ffc857";
export const GHOST = "#dfe7f5";
export const TRUTH = "#ffffff";
export const BODY = "#202a3d";
export const BACKGROUND = "#0a0d14";
